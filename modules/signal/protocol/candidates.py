"""Candidates: UDP addresses at which a node may be reached, as text, as bytes, and which of them are fit to be tried.

Packed, a candidate is the address and then the port, both in network byte order: 6 bytes for IPv4, 18 for IPv6.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

from ipop_modules.signal.protocol.addresses import format_endpoint

MOST_CANDIDATES: Final = 16

Address: TypeAlias = IPv4Address | IPv6Address


def pack(endpoint: str) -> bytes | None:
    """None when `endpoint` is not `1.2.3.4:4741` or `[2001:db8::1]:4741`."""
    host, colon, port = endpoint.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
        return None
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return address.packed + int(port).to_bytes(2, "big")


def unpack(packed: bytes) -> tuple[Address, int] | None:
    """An IPv4 address inside an IPv6 one comes out as IPv4. None when the length is neither 6 nor 18."""
    port = int.from_bytes(packed[-2:], "big")
    if len(packed) == 6:
        return IPv4Address(packed[:4]), port
    if len(packed) == 18:
        address = IPv6Address(packed[:16])
        return address.ipv4_mapped or address, port
    return None


def choose(packed: Iterable[bytes], *, loopback: bool) -> list[bytes]:
    """The first sixteen that are fit to be tried, none twice; `loopback` says whether this machine's own may be."""
    fit: dict[bytes, None] = {}
    for candidate in packed:
        place = unpack(candidate)
        if place is not None and is_fit(*place, loopback=loopback):
            fit[place[0].packed + candidate[-2:]] = None
            if len(fit) == MOST_CANDIDATES:
                break
    return list(fit)


def is_fit(address: Address, port: int, *, loopback: bool) -> bool:
    """Whether one host may be behind it, which packets from here can reach."""
    if port == 0 or address.is_multicast or address.is_unspecified or address.is_link_local:
        return False
    if address.is_loopback:
        return loopback
    return not (isinstance(address, IPv4Address) and (address.is_reserved or address.packed[0] == 0))


def only_loopback(packed: Iterable[bytes]) -> bool:
    """Whether a node that is reachable at these addresses is reachable from its own machine alone."""
    places = [place for place in map(unpack, packed) if place is not None]
    return bool(places) and all(address.is_loopback for address, _ in places)


def to_endpoint(packed: bytes) -> str:
    """Raise ValueError when `packed` is no packed candidate."""
    place = unpack(packed)
    if place is None:
        raise ValueError(f"a candidate of {len(packed)} bytes")
    return format_endpoint(str(place[0]), place[1])
