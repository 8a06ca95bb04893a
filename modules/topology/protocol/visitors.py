"""Links that others opened and keep for themselves, such as their shortcuts to this node: there is room for so many.

They cost a place in every neighbour's table and a keepalive each, and ids are free to make. Where there are too many,
those to which this node sends least go over the overlay again, which loses nothing; of those to which it sends next to
nothing the newest go, so that whoever comes by the hundred takes nobody's place. Links to near neighbours, those that
this node wants itself, and newcomers' are none of these; who says that a link is a long one is believed as far as a
node of a large ring has such links.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ipop_modules.topology.protocol.link import Link
from ipop_modules.topology.protocol.shortcuts import LEAST

FOR_EACH: Final = 8
"""Visitors for each shortcut that this node may have: many use one server, and it needs none of its own to them."""
FEWEST: Final = 256
LONG: Final = 32
"""Long links that others open: in a ring of a million nodes it is 22 of each, with what is spare (longlinks.py)."""


@dataclass(frozen=True, slots=True)
class Use:
    """Of one link, as the link module tells it."""

    sent: int
    """Bytes to the peer."""
    age: float
    """Seconds for which there is a session."""
    wanted: bool
    """This node wants it itself."""


def room(shortcuts: int) -> int:
    """For how many there is room on a node that may have so many shortcuts."""
    return max(FEWEST, FOR_EACH * shortcuts)


def visitors(neighbours: Iterable[tuple[bytes, str]], links: Mapping[bytes, Link]) -> list[bytes]:
    """Who may be one, by what the ring knows. `neighbours`: nodes and their kinds, as `Ring.neighbours` gives them."""
    kinds = dict(neighbours)
    came = [node for node, kind in kinds.items() if kind == "member"]
    long = [node for node, kind in kinds.items() if kind == "long" and links[node].long]
    return came + sorted(long, key=lambda node: links[node].long_since)[LONG:]


def too_many(came: Iterable[bytes], uses: Mapping[bytes, Use], places: int) -> list[bytes]:
    """Of those that came, who is to be turned away, so that `places` of them stay."""
    counted = [node for node in came if node in uses and not uses[node].wanted]

    def worth(node: bytes) -> tuple[float, float]:
        use = uses[node]
        rate = use.sent / max(1.0, use.age)
        return (rate if rate >= LEAST else 0.0, use.age)

    return sorted(counted, key=worth)[: max(0, len(counted) - places)]
