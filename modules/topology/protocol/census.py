"""How many others are in the namespace: asked soon after joining, then ever more rarely.

Up to as many as the first part of the set holds (`parts.py`) they are counted, beyond that estimated: behind a part
that is full one of the sixteen is asked at random, and stands for all. Where the first part was full lately and is no
more, few can be behind it, and all sixteen are asked.
"""

from __future__ import annotations

from math import inf
from typing import Final

from ipop_modules.topology.protocol import parts
from ipop_modules.topology.protocol.chance import Random, pick, request_number, spread
from ipop_modules.topology.protocol.messages import Get, GetAnswer
from ipop_modules.topology.protocol.records import members_key
from ipop_modules.topology.protocol.ring import Ring

FIRST: Final = 1.0
RETRY: Final = 2.0
TRIES: Final = 3
"""Then from the beginning."""
OFTEN: Final = 10.0
SELDOM: Final = 300.0


class Census:
    def __init__(self, ring: Ring, namespace_key: bytes, random: Random) -> None:
        self._ring = ring
        self._namespace_key = namespace_key
        self._random = random
        self._number: int | None = None
        """Of the question that is not answered yet."""
        self._left: list[tuple[str, int]] = []
        """The parts that are to be asked for, the last one first, and for how many like it each stands."""
        self._tries = 0
        self._deepest = 0
        self._counted = 0
        self._due = inf
        self._pause = OFTEN
        self.others: int | None = None
        """Members besides this node, as far as the directory knows; None while it has not answered."""

    def on_joined(self, now: float) -> None:
        self._due = now + FIRST
        self._pause = OFTEN

    def on_answer(self, answer: GetAnswer, now: float) -> None:
        if answer.number != self._number:
            return
        part, weight = self._left.pop()
        self._counted += answer.total * weight
        self._deepest = max(self._deepest, len(part))
        behind = parts.behind(part)
        if part == parts.FIRST and answer.behind and not parts.is_full(answer.total):
            self._left = [(one, weight) for one in behind]
        elif behind and (answer.behind or parts.is_full(answer.total)):
            self._left.append((pick(self._random, behind), weight * len(behind)))
        if self._left:
            self._ask(now)
            return
        self._number = None
        self.others = self._counted
        # As many questions in the same time, however many parts there are.
        self._due = now + spread(self._random, self._pause * (1 + self._deepest))
        self._pause = min(self._pause * 1.5, SELDOM)

    def wake(self, now: float) -> None:
        if self._due > now:
            return
        if self._number is None or self._tries >= TRIES:
            self._left, self._counted, self._deepest = [(parts.FIRST, 1)], 0, 0
            self._ask(now)
        else:
            self._send(now)

    def next_wake(self) -> float:
        return self._due

    def _ask(self, now: float) -> None:
        self._number = request_number(self._random)
        self._tries = 0
        self._send(now)

    def _send(self, now: float) -> None:
        if self._number is None:
            return
        self._tries += 1
        self._due = now + RETRY
        key = members_key(self._namespace_key, self._left[-1][0])
        get = Get(self._number, self._ring.me, None, "many", key, count_only=True)
        self._ring.out.to_closest(key, get)
