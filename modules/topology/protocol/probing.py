"""When to ask for this node's place in the ring, and which answers to believe.

Often after something changed, then ever more rarely, but never never: rings that are apart are found this way.
"""

from __future__ import annotations

from math import inf
from typing import Final

from ipop_modules.topology.protocol.chance import Random, request_number, spread

FIRST: Final = 0.5
LONGEST_OUTSIDE: Final = 4.0
LONGEST_INSIDE: Final = 45.0
PENDING: Final = 8


class Probing:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._sent: dict[int, bytes] = {}
        self._delay = FIRST
        self.due = inf

    def soon(self, now: float) -> None:
        """Something changed: what was heard may be out of date."""
        self._delay = FIRST
        self.due = now + spread(self._random, FIRST)

    def later(self, now: float, *, member: bool) -> None:
        """A probe was made: plan the next one."""
        self._delay = min(2 * self._delay, LONGEST_INSIDE if member else LONGEST_OUTSIDE)
        self.due = now + spread(self._random, self._delay)

    def new_number(self, door: bytes) -> int:
        """For a Join that the neighbour `door` takes."""
        number = request_number(self._random)
        self._sent[number] = door
        while len(self._sent) > PENDING:
            del self._sent[next(iter(self._sent))]
        return number

    def answered(self, number: int) -> bytes | None:
        """The neighbour that took the Join with this number; None when there is none that waits."""
        return self._sent.pop(number, None)
