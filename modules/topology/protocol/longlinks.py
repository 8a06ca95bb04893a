"""Long links: a few direct links across the ring, which make routes short.

A node wants about log2 N of them and opens that many; as many come in from others on average. Their distances are drawn
from the harmonic distribution: 2^(160 - (1-u) log2 N) for u uniform in [0, 1) (Symphony, USITS 2003, section 3), on
either side. N is the ring's own estimate. The member nearest to the drawn point is asked whether it has room. One that
has too many says `Full` to the newest, who draws again; who stays all the same takes nobody's place. When N has grown
or shrunk a lot, links are drawn anew one by one, and the old one goes when the new one is up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, log2
from typing import Final

from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.chance import Random, request_number, spread
from ipop_modules.topology.protocol.effects import Connect, Release
from ipop_modules.topology.protocol.link import Link
from ipop_modules.topology.protocol.messages import Find, Found
from ipop_modules.topology.protocol.outbox import Outbox

KIND: Final = "long"
FEWER: Final = 1.75
"""So many less than log2 N: with the near links, 25 links a node at N = 4,096."""
SPARE: Final = 4
"""So many more than it wants itself a node takes from others."""
AT_ONCE: Final = 2
ANSWER: Final = 2.0
AGAIN: Final = 0.3
PATIENT: Final = 4
"""So many draws in a row may fail before the pauses grow: in a small ring most points lie at neighbours."""
LONGEST: Final = 120.0
REDRAW: Final = 2.0
"""log2 of the factor by which N has changed since a link was drawn."""
REVIEW: Final = 20.0


@dataclass(slots=True)
class _Wish:
    drawn_for: float
    """log2 of the ring's size then."""
    up: bool = False


class LongLinks:
    """`links` are the ring's direct links, `is_near` and `is_shortcut` tell what else a link is wanted for."""

    def __init__(
        self,
        me: bytes,
        out: Outbox,
        random: Random,
        *,
        count: int | None,
        links: Mapping[bytes, Link],
        is_near: Callable[[bytes], bool],
        is_shortcut: Callable[[bytes], bool],
    ) -> None:
        """`count`: how many, None for as many as the ring's size asks for."""
        self._me = me
        self._out = out
        self._random = random
        self._count = count
        self._links = links
        self._is_near = is_near
        self._is_shortcut = is_shortcut
        self._wishes: dict[bytes, _Wish] = {}
        self._finds: dict[int, float] = {}
        """When to stop waiting for the answer, by number."""
        self._failures = 0
        self._due = inf
        self._size = 1

    def __contains__(self, node: bytes) -> bool:
        return node in self._wishes

    @property
    def wanted(self) -> int:
        """How many this node opens."""
        if self._count is not None:
            return self._count
        return max(0, round(log2(max(1, self._size)) - FEWER))

    def set_size(self, size: int, now: float) -> None:
        """The ring's size as it is estimated now; 0 while this node is not in it."""
        before, self._size = self.wanted, size
        if self.wanted > before or (self._due == inf and size > 1):
            self._again(now)

    # What others want.

    def has_room(self) -> bool:
        return self._inbound() < self.wanted + SPARE

    def is_too_much(self, node: bytes) -> bool:
        """Whether a neighbour that wants its link as a long one should take another."""
        if node in self._wishes or self._is_near(node):
            return False
        since = self._links[node].long_since
        return sum(link.long and link.long_since < since for link in self._links.values()) > self.wanted + SPARE

    # What comes of this node's own wishes.

    def found(self, found: Found, now: float) -> None:
        if self._finds.pop(found.number, None) is None:
            return
        node = found.node
        if node == self._me or node in self._links or node in self._wishes:
            self._failures += 1
            self._again(now)
            return
        if not found.room:
            self._again(now)
            return
        self._wishes[node] = _Wish(log2(max(1, self._size)))
        self._out.emit(Connect(node, None, KIND))

    def link_up(self, node: bytes, now: float) -> None:
        wish = self._wishes.get(node)
        if wish is None or wish.up:
            return
        wish.up = True
        self._failures = 0
        self._due = now + spread(self._random, AGAIN)

    def crossed(self, node: bytes, now: float) -> None:
        """The neighbour wants the link as a long one: where both do, it counts for the one with the lower id."""
        if node in self._wishes and self._me > node:
            self._let_go(node)
            self._again(now)

    def lost(self, node: bytes, now: float) -> None:
        """It went down, could not be made, or is not welcome: draw another."""
        if node in self._wishes:
            self._let_go(node)
            self._failures += 1
            self._again(now)

    def relink(self, wanted: Mapping[bytes, bool]) -> None:
        """The link module, or this one, was restarted: the nodes with long links, and whether each is up."""
        for node in sorted(self._wishes.keys() - wanted.keys()):
            self._out.emit(Connect(node, None, KIND))
        for node, up in wanted.items():
            self._wishes.setdefault(node, _Wish(log2(max(1, self._size)))).up = up

    # Time.

    def wake(self, now: float) -> None:
        for number in [number for number, until in self._finds.items() if until <= now]:
            del self._finds[number]
            self._failures += 1
            self._again(now)
        if self._due > now:
            return
        self._due = now + spread(self._random, REVIEW)
        if self._size <= 1:
            return
        for node in [node for node in self._wishes if self._is_near(node)]:
            self._let_go(node)
        self._drop_spare()
        missing = min(self._missing(), AT_ONCE - len(self._finds))
        if missing <= 0 and self._outdated() and not self._finds:
            missing = 1
        for _ in range(missing):
            self._draw(now)

    def next_wake(self) -> float:
        return min(self._due, *self._finds.values()) if self._finds else self._due

    def _draw(self, now: float) -> None:
        number = request_number(self._random)
        self._finds[number] = now + spread(self._random, ANSWER)
        self._out.to_closest(long_point(self._me, self._size, self._random), Find(number, self._me, None))

    def _missing(self) -> int:
        return self.wanted - self._outbound() - len(self._finds)

    def _outbound(self) -> int:
        """Links that this node began and that are no near ones: long ones, and those to bootstraps."""
        others = sum(
            link.initiator
            and link.member is True
            and node not in self._wishes
            and not self._is_near(node)
            and not self._is_shortcut(node)
            for node, link in self._links.items()
        )
        return len(self._wishes) + others

    def _inbound(self) -> int:
        return sum(link.long for link in self._links.values())

    def _outdated(self) -> list[bytes]:
        size = log2(max(1, self._size))
        return [node for node, wish in self._wishes.items() if abs(wish.drawn_for - size) >= REDRAW]

    def _drop_spare(self) -> None:
        """One more than wanted may stay: the estimate of N moves to and fro. An outdated one goes for a fresh one."""
        up = [node for node, wish in self._wishes.items() if wish.up]
        outdated = [node for node in self._outdated() if node in up]
        spare = self._outbound() - self.wanted
        if spare > 0 and outdated:
            self._let_go(outdated[0])
        elif spare > 1 and up:
            self._let_go(up[0])

    def _let_go(self, node: bytes) -> None:
        del self._wishes[node]
        self._out.emit(Release(node, KIND))

    def _again(self, now: float) -> None:
        pause = min(AGAIN * 2 ** min(max(0, self._failures - PATIENT), 10), LONGEST)
        due = now + spread(self._random, pause)
        self._due = due if self._due is None else min(self._due, due)


def long_point(me: bytes, size: int, random: Random) -> bytes:
    """A point whose distance from `me` follows the harmonic distribution for a ring of `size` nodes."""
    number = int.from_bytes(random(8), "big")
    u, side = (number >> 1) / 2**63, number & 1
    exponent = 160 - (1 - u) * log2(size)
    whole = int(exponent)
    steps = int(2 ** (exponent - whole) * (1 << 52)) << whole >> 52
    return ids.from_number(ids.number(me) + (steps if side else -steps))
