"""Room for the handshakes that peers began: bounded by where they came from, so that no source takes all of it.

An INIT costs its sender nothing, and this node memory for some seconds. Three kinds have room of their own. One from a
UDP address that has proven nothing may bear any address, so all such share one part; when that is full, they must show
a token (retry.py). Those that showed one have a share for each address, or for each /64 of IPv6 addresses, since
whoever has one of these has all. The sender that an INIT over the overlay names is only a claim, so there the share is
that of the neighbour who handed it over.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Final, TypeAlias

MAX_UNPROVEN: Final = 64
MAX_PROVEN: Final = 192
MAX_OF_ADDRESS: Final = 24
MAX_OVERLAY: Final = 512
MAX_OF_LINK: Final = 64

_PREFIX: Final = 8
"""Bytes of an IPv6 address that a site has for itself alone."""


class Part(Enum):
    UNPROVEN = (MAX_UNPROVEN, MAX_UNPROVEN)
    PROVEN = (MAX_PROVEN, MAX_OF_ADDRESS)
    OVERLAY = (MAX_OVERLAY, MAX_OF_LINK)

    def __init__(self, most: int, share: int) -> None:
        self.most = most
        self.share = share


Place: TypeAlias = tuple[Part, bytes]
"""Where a handshake came from; equal places share."""

UNPROVEN: Final[Place] = (Part.UNPROVEN, b"")


def proven(address: bytes) -> Place:
    """A UDP address (4 or 16 bytes) at which the peer receives."""
    return Part.PROVEN, address if len(address) == 4 else address[:_PREFIX]


def overlay(link: bytes) -> Place:
    """Handed over by this neighbour."""
    return Part.OVERLAY, link


class HalfOpen:
    """Counts them."""

    def __init__(self) -> None:
        self._parts: Final[Counter[Part]] = Counter()
        self._places: Final[Counter[Place]] = Counter()

    def has_room(self, place: Place) -> bool:
        part, _ = place
        return self._parts[part] < part.most and self._places[place] < part.share

    def add(self, place: Place) -> None:
        self._parts[place[0]] += 1
        self._places[place] += 1

    def remove(self, place: Place) -> None:
        self._parts[place[0]] -= 1
        self._places[place] -= 1
        if not self._places[place]:
            del self._places[place]
