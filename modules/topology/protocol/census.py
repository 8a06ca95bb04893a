"""How many others are in the namespace: asked soon after joining, then ever more rarely."""

from __future__ import annotations

from math import inf
from typing import Final

from ipop_modules.topology.protocol.chance import Random, request_number, spread
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
        self._key = members_key(namespace_key)
        self._random = random
        self._number: int | None = None
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
        self._number = None
        self.others = answer.total
        self._due = now + spread(self._random, self._pause)
        self._pause = min(self._pause * 1.5, SELDOM)

    def wake(self, now: float) -> None:
        if self._due > now:
            return
        self._number = request_number(self._random)
        self._due = now + RETRY
        get = Get(self._number, self._ring.me, None, "many", self._key, count_only=True)
        self._ring.out.to_closest(self._key, get)

    def next_wake(self) -> float:
        return self._due
