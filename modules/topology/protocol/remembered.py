"""Peers that had a direct link, for the time when all bootstraps are gone: which are kept, and who is asked when.

There is room for MOST. Whoever opens links to this node can do so with as many ids as it likes, and ids next to its own
can be made, so each way in which a peer gets in has a part of the room: those that this node chose itself far across
the ring or for its traffic, those next to it, and those that came. A part may be larger while there is room; when there
is none, the one that is the most over its share gives one up, the oldest that has no link now. Whom a lonely node asks
is taken from all parts alike, so that those of one machine are not the only ones to answer.

A newcomer knows nobody but its bootstraps, any of which may be gone a moment later. So who lets it in names some of
its own neighbours in the ring to it, and they are asked like the others. They are not on disk and have no part of the
room, and who does not answer in a few tries is asked no more: an endpoint is anybody's word.
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
TOLD: Final = 8
TRIES: Final = 3
AT_ONCE: Final = 3
AGAIN: Final = 5.0
"""Seconds from asking some to asking the next, while the node is alone."""
LONELY: Final = 1.5
"""Seconds alone before known peers are asked. Bootstraps come first, but a node that is alone for longer
takes itself for the first of its ring, unless it has met one (founding.py), and what it claims then it may have to
give back."""
LOST: Final = 300.0
"""Seconds, on average, from asking one peer that has no link any more to the next, while there are other links."""


class _Told(msgspec.Struct):
    endpoint: str
    tries: int = TRIES


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
        self._told: dict[str, _Told] = {}
        """Those that others have named, the oldest first."""
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

    def endpoint(self, node: str) -> str | None:
        """Of one that is kept."""
        return next((part[node] for part, _ in self._parts if node in part), None)

    def introduced(self, node: str, endpoint: str) -> None:
        """Somebody named this one."""
        self._told.pop(node, None)
        self._told[node] = _Told(endpoint)
        if len(self._told) > TOLD:
            del self._told[next(iter(self._told))]

    def wake(self, linked: Collection[str], now: float, *, alone: bool) -> list[tuple[str, str]]:
        """Whom to ask now: node and endpoint. To be called every few seconds; `alone` as the ring's `is_alone`."""
        if not (alone and self._was_alone):
            self._alone_since = now
        self._was_alone = alone
        lost = list(self._in_turn(linked))
        if alone and now >= max(self._alone_since + LONELY, self._ask_at) and lost:
            self._ask_at = now + AGAIN
            asked = [lost[(self._asked + index) % len(lost)] for index in range(min(AT_ONCE, len(lost)))]
            self._asked += AT_ONCE
            self._count_tries(node for node, _ in asked)
            return asked
        if not alone and now >= self._lost_at:
            self._lost_at = now + spread(self._random, LOST)
            parts = [[item for item in part.items() if item[0] not in linked] for part, _ in self._parts]
            some = [part for part in parts if part]
            return [pick(self._random, pick(self._random, some))] if some else []
        return []

    def _make_room(self, linked: Collection[str], newest: str) -> None:
        part, _ = max(self._parts, key=lambda item: len(item[0]) - item[1])
        gone = (other for other in part if other not in linked and other != newest)
        del part[next(gone, next(iter(part)))]

    def _count_tries(self, asked: Iterable[str]) -> None:
        for node in asked:
            told = self._told.get(node)
            if told is not None:
                told.tries -= 1
                if told.tries == 0:
                    del self._told[node]

    def _in_turn(self, linked: Collection[str]) -> Iterable[tuple[str, str]]:
        """Those without a link, one of each part after the other, the newest first."""
        known = set(self)
        told = {node: told.endpoint for node, told in self._told.items() if node not in known}
        parts = (
            [item for item in reversed(part.items()) if item[0] not in linked]
            for part in (*(part for part, _ in self._parts), told)
        )
        return (item for row in zip_longest(*parts) for item in row if item is not None)


def _place(kinds: Collection[str]) -> int:
    """Which part a link belongs to that this node wants for these reasons."""
    if "long" in kinds or "shortcut" in kinds:
        return 0
    return 1 if "near" in kinds or "door" in kinds else 2
