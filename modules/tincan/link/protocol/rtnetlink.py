"""What the kernel tells of cards, addresses, default routes and neighbours (rtnetlink(7)): only what it is about.

`watching.py` hands in what it reads. All it needs to know is whether to look again, and that must cost little: a busy
machine's kernel tells of some neighbour many times a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

CARDS: Final = 0x1
IPV4_ADDRESSES: Final = 0x10
IPV6_ADDRESSES: Final = 0x100
IPV4_ROUTES: Final = 0x40
IPV6_ROUTES: Final = 0x400
NEIGHBOURS: Final = 0x4
"""Groups (RTMGRP_*) to listen to."""

_NEW_CARD: Final = 16
_ADDRESSES: Final = (20, 21)
_ROUTES: Final = (24, 25)
"""New and removed."""
_NEW_NEIGHBOUR: Final = 28
_HEADER: Final = Struct("=IHHII")
_ATTRIBUTE: Final = Struct("=HH")
_ROUTE_SIZE: Final = 12
_NEIGHBOUR_SIZE: Final = 12
_CARD: Final = Struct("=BBHiII")
_RUNNING: Final = 0x41
"""IFF_UP and IFF_RUNNING."""
_DESTINATION: Final = 1
_LINK_ADDRESS: Final = 2


class Neighbour(NamedTuple):
    """A neighbour's IP address (4 or 16 bytes), and the address on the link at which it is found."""

    ip: bytes
    link_address: bytes


class Card(NamedTuple):
    """A card by its number (ifindex), and whether it is switched on and has a carrier."""

    number: int
    runs: bool


def told(data: bytes) -> Iterator[Neighbour | Card | None]:
    """One item for each message that matters: a neighbour, a card, or None for an address or a default route."""
    for kind, body in _pieces(data, _HEADER):
        is_default_route = kind in _ROUTES and len(body) >= _ROUTE_SIZE and body[1] == 0
        if is_default_route or kind in _ADDRESSES:
            yield None
        elif kind == _NEW_CARD and len(body) >= _CARD.size:
            _, _, _, index, flags, _ = _CARD.unpack_from(body)
            yield Card(index, flags & _RUNNING == _RUNNING)
        elif kind == _NEW_NEIGHBOUR:
            attributes = dict(_pieces(body[_NEIGHBOUR_SIZE:], _ATTRIBUTE))
            if _DESTINATION in attributes and _LINK_ADDRESS in attributes:
                yield Neighbour(attributes[_DESTINATION], attributes[_LINK_ADDRESS])


def _pieces(data: bytes, header: Struct) -> Iterator[tuple[int, bytes]]:
    """Pieces that begin with their length and kind, each on a multiple of four bytes."""
    while len(data) >= header.size:
        length, kind = header.unpack_from(data)[:2]
        if not header.size <= length <= len(data):
            return
        yield kind, data[header.size : length]
        data = data[(length + 3) & ~3 :]
