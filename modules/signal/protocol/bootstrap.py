"""A bootstrap as a person writes it: `host`, `host:port` or `[2001:db8::1]:4741`, perhaps with `nodeid@` before it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

DEFAULT_PORT: Final = 4741

_NODE: Final = re.compile(r"[0-9a-f]{40}")
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_LONGEST_NAME: Final = 253


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A node to ask for first contact."""

    name: str
    """As it was written."""
    host: str
    """A name or an address, without brackets."""
    port: int
    node: str | None = None
    """The id that it must prove, 40 hexadecimal digits."""


def parse_bootstrap(text: str) -> Bootstrap:
    """Raise ValueError, which says what is wrong, when `text` names no bootstrap."""
    node, at, place = text.rpartition("@")
    if at and not _NODE.fullmatch(node.lower()):
        raise ValueError(f"{node!r} before the @ is not a node id of 40 hexadecimal digits")
    host, port = _split(place)
    _check_host(host)
    return Bootstrap(text, host, port, node.lower() if at else None)


def _split(place: str) -> tuple[str, int]:
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{place!r} is not [IPv6 address]:port")
        _check_ipv6(host)
        return host, _port(rest[1:]) if rest else DEFAULT_PORT
    if place.count(":") > 1:
        _check_ipv6(place)
        return place, DEFAULT_PORT
    host, colon, port = place.partition(":")
    return host, _port(port) if colon else DEFAULT_PORT


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65_535):
        raise ValueError(f"port {text!r} is not a number from 1 to 65535")
    return int(text)


def _check_ipv6(host: str) -> None:
    try:
        IPv6Address(host)
    except ValueError:
        raise ValueError(f"{host!r} is not an IPv6 address") from None


def _check_host(host: str) -> None:
    try:
        ip_address(host)
    except ValueError:
        labels = host.removesuffix(".").split(".")
        if len(host) > _LONGEST_NAME or labels[-1].isdigit() or not all(map(_LABEL.fullmatch, labels)):
            raise ValueError(f"{host!r} is neither an IP address nor the name of a host") from None
