"""The formats that schemas may ask of a string besides JSON schema's own: `cidr`, `address` and `endpoint`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from jsonschema import FormatChecker

EXPECTED: Final = {
    "cidr": "an address with a prefix length such as 192.168.10.10/24",
    "address": "an IP address such as 192.168.10.10",
    "endpoint": "an endpoint such as 203.0.113.7:4741, [2001:db8::1]:4741 or bootstrap.example.org:4741",
}

LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOST_NAME: Final = re.compile(rf"{LABEL}(?:\.{LABEL})*\.?")
ENDPOINT: Final = re.compile(
    r"(?:(?P<node>[0-9a-f]{40})@)?(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]:@/\s]+)):(?P<port>[0-9]{1,5})"
)


class FormatFault(ValueError):
    """A value that misses its format for a reason worth telling; the text follows the value in the fault's line."""


@dataclass(frozen=True)
class Endpoint:
    """Where a node may be reached."""

    host: str
    """A name, or an IP address without brackets."""
    port: int
    node: bytes | None = None
    """The 20 bytes of the id that whoever answers there must prove."""


def parse_endpoint(text: str) -> Endpoint:
    """`host:port`, `[v6]:port`, or either behind `nodeid@` (a schema may forbid it by a pattern). Raises ValueError."""
    match = ENDPOINT.fullmatch(text)
    if match is None or len(text) > 320:
        raise ValueError("not an endpoint")
    port = int(match["port"])
    if not 1 <= port <= 65535:
        raise FormatFault(f"has port {port}; ports go from 1 to 65535")
    host = str(ipaddress.IPv6Address(match["v6"])) if match["v6"] else _check_host(match["host"])
    return Endpoint(host, port, bytes.fromhex(match["node"]) if match["node"] else None)


def _check_host(host: str) -> str:
    if not HOST_NAME.fullmatch(host) or len(host) > 253:
        raise ValueError("not a host")
    if host.rstrip(".").rpartition(".")[2].isdigit():  # no top-level domain is a number: it was meant as an address
        return str(ipaddress.IPv4Address(host))
    return host


def parse_cidr(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    """An address that a card may have, with its network's prefix length. Raises ValueError."""
    if not re.fullmatch(r"[0-9A-Fa-f:.]{2,45}/[0-9]{1,3}", text):
        raise ValueError("not an address with a prefix length")
    interface = ipaddress.ip_interface(text)
    network = interface.network
    if interface.is_unspecified or interface.is_multicast or interface.is_loopback:
        raise FormatFault("is not an address that a card may have")
    if interface.version == 4 and network.prefixlen < 31 and interface.ip == network.network_address:
        raise FormatFault(f"is the network itself, not an address in it such as {network[1]}/{network.prefixlen}")
    if interface.version == 4 and network.prefixlen < 31 and interface.ip == network.broadcast_address:
        raise FormatFault("is its network's broadcast address")
    return interface


def _accept_cidr(value: object) -> bool:
    return not isinstance(value, str) or bool(parse_cidr(value))


def _accept_address(value: object) -> bool:
    return not isinstance(value, str) or ("%" not in value and bool(ipaddress.ip_address(value)))


def _accept_endpoint(value: object) -> bool:
    return not isinstance(value, str) or bool(parse_endpoint(value))


FORMATS: Final = FormatChecker()
FORMATS.checks("cidr", raises=ValueError)(_accept_cidr)
FORMATS.checks("address", raises=ValueError)(_accept_address)
FORMATS.checks("endpoint", raises=ValueError)(_accept_endpoint)
