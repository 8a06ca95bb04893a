"""How many others are in the namespace: asked soon after joining, then ever more rarely.

Up to as many as the first part of the set holds (`parts.py`) they are counted, beyond that estimated: behind a part
that is full one of the sixteen is asked at random, and stands for all.
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
OFTEN: Final = 10.0
SELDOM: Final = 300.0


class Census:
    def __init__(self, ring: Ring, namespace_key: bytes, random: Random) -> None:
        self._ring = ring
        self._namespace_key = namespace_key
        self._random = random
        self._number: int | None = None
        self._part = parts.FIRST
        self._before = 0
        """How many are in the parts before the one that is asked for."""
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
        counted = self._before + answer.total * len(parts.DIGITS) ** len(self._part)
        behind = parts.behind(self._part) if parts.is_full(answer.total) else []
        if behind:
            self._ask(pick(self._random, behind), counted, now)
            return
        self._number = None
        self.others = counted
        # As many questions in the same time, however many parts there are.
        self._due = now + spread(self._random, self._pause * (1 + len(self._part)))
        self._pause = min(self._pause * 1.5, SELDOM)

    def wake(self, now: float) -> None:
        if self._due <= now:
            self._ask(parts.FIRST, 0, now)

    def next_wake(self) -> float:
        return self._due

    def _ask(self, part: str, before: int, now: float) -> None:
        self._number = request_number(self._random)
        self._part, self._before = part, before
        self._due = now + RETRY
        key = members_key(self._namespace_key, part)
        get = Get(self._number, self._ring.me, None, "many", key, count_only=True)
        self._ring.out.to_closest(key, get)
