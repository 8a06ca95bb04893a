"""The order in which the addresses of one host are tried (RFC 8305, section 4)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from itertools import chain, zip_longest


def format_endpoint(address: str, port: int) -> str:
    """`1.2.3.4:4741` or `[2001:db8::1]:4741`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def interleave(addresses: Iterable[str]) -> list[str]:
    """IPv6 and IPv4 in turn, IPv6 first, each family in the resolver's order and no address twice."""
    unique = list(dict.fromkeys(addresses))
    ipv6 = [address for address in unique if isinstance(ip_address(address), IPv6Address)]
    ipv4 = [address for address in unique if address not in ipv6]
    return [address for address in chain.from_iterable(zip_longest(ipv6, ipv4)) if address is not None]
