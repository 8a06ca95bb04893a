"""Peers that had a direct link, for the time when all bootstraps are gone: which are kept, and who is asked when.

There is room for MOST. Whoever opens links to this node can do so with as many ids as it likes, and ids next to its own
can be made, so each way in which a peer gets in has a part of the room: those that this node chose itself far across
the ring or for its traffic, those next to it, and those that came. A part may be larger while there is room; when there
is none, the one that is the most over its share gives one up, the oldest that has no link now. Whom a lonely node asks
is taken from all parts alike, so that those of one machine are not the only ones to answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import zip_longest
from math import inf
from typing import Final

import msgspec

from ipop_modules.topology.protocol.chance import Random, pick, spread

CHOSEN: Final = 16
NEAR: Final = 8
CAME: Final = 8
MOST: Final = CHOSEN + NEAR + CAME
AT_ONCE: Final = 3
AGAIN: Final = 5.0
"""Seconds from asking some to asking the next, while there is no link."""
LONELY: Final = 1.5
"""Seconds without any link before known peers are asked. Bootstraps come first, but a node that is alone for longer
takes itself for the first of its ring (founding.py), and what it claims then it may have to give back."""
LOST: Final = 300.0
"""Seconds, on average, from asking one peer that has no link any more to the next, while there are other links."""


class Kept(msgspec.Struct):
    """What is on disk: the endpoint of each node, the oldest first."""

    chosen: dict[str, str] = msgspec.field(default_factory=dict)
    near: dict[str, str] = msgspec.field(default_factory=dict)
    came: dict[str, str] = msgspec.field(default_factory=dict)


class Remembered:
    """Nodes are 40 hexadecimal digits; `kept` is as an earlier run left it, and may be anybody's work."""

    def __init__(self, kept: Kept, random: Random, now: float) -> None:
        self._kept = kept
        self._parts = ((kept.chosen, CHOSEN), (kept.near, NEAR), (kept.came, CAME))
        """The earlier ones count for more: a node is in one of them."""
        self._random = random
        self._alone_since = now
        self._was_alone = True
        self._asked = 0
        self._ask_at = -inf
        self._lost_at = now + spread(random, LOST)
        while len(self) > MOST:
            self._make_room((), "")

    def __len__(self) -> int:
        return sum(len(part) for part, _ in self._parts)

    def __iter__(self) -> Iterator[str]:
        for part, _ in self._parts:
            yield from part

    def note(self, node: str, endpoint: str, kinds: Collection[str], linked: Collection[str]) -> bool:
        """A direct link is up, and this node wants it for these reasons; whether there is anything new to keep.

        `linked`: all that have one. A node stays in the best part that it was ever in.
        """
        was = next(((place, part[node]) for place, (part, _) in enumerate(self._parts) if node in part), None)
        place = _place(kinds) if was is None else min(was[0], _place(kinds))
        if was is not None:
            del self._parts[was[0]][0][node]
        self._parts[place][0][node] = endpoint
        if len(self) > MOST:
            self._make_room(linked, node)
        return was != (place, endpoint)

    def wake(self, linked: Collection[str], now: float) -> list[tuple[str, str]]:
        """Whom to ask now: node and endpoint. To be called every few seconds."""
        if linked or not self._was_alone:
            self._alone_since = now
        self._was_alone = not linked
        lost = list(self._in_turn(linked))
        if not linked and now >= max(self._alone_since + LONELY, self._ask_at) and lost:
            self._ask_at = now + AGAIN
            asked = [lost[(self._asked + index) % len(lost)] for index in range(min(AT_ONCE, len(lost)))]
            self._asked += AT_ONCE
            return asked
        if linked and now >= self._lost_at:
            self._lost_at = now + spread(self._random, LOST)
            parts = [[item for item in part.items() if item[0] not in linked] for part, _ in self._parts]
            some = [part for part in parts if part]
            return [pick(self._random, pick(self._random, some))] if some else []
        return []

    def _make_room(self, linked: Collection[str], newest: str) -> None:
        part, _ = max(self._parts, key=lambda item: len(item[0]) - item[1])
        gone = (other for other in part if other not in linked and other != newest)
        del part[next(gone, next(iter(part)))]

    def _in_turn(self, linked: Collection[str]) -> Iterable[tuple[str, str]]:
        """Those without a link, one of each part after the other, the newest first."""
        parts = ([item for item in reversed(part.items()) if item[0] not in linked] for part, _ in self._parts)
        return (item for row in zip_longest(*parts) for item in row if item is not None)


def _place(kinds: Collection[str]) -> int:
    """Which part a link belongs to that this node wants for these reasons."""
    if "long" in kinds or "shortcut" in kinds:
        return 0
    return 1 if "near" in kinds or "door" in kinds else 2
