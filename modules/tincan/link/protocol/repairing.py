"""Whether the blocks to a peer are repaired (`repair.py`), by what it reports lost and mended.

A path is repaired until it has shown that it loses hardly any: TCP remembers for long what it loses when it starts.
Where very many are lost the path may be full, and more datagrams make it worse; where losses come several in a row,
one datagram more is no help.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

REPAIRED_FROM: Final = 0.0005
"""When so much of the datagrams is lost, blocks are repaired; until it is half as much again."""
REPAIRED_TO: Final = 0.05
EXPECTED: Final = (1, 1000)
"""Datagrams lost, of so many, that every path is taken to have shown."""
REMEMBERED: Final = 20_000
"""Datagrams that count at most: a path that was clean for ever so many is soon seen to have changed."""
ACCEPTABLE: Final = 0.004
"""The part of repaired blocks that may be lost."""

JUDGED_LOST: Final = 8
JUDGED_RATIO: Final = 4.0
"""When so many blocks are lost, and so many times as many as are mended, losses come several in a row."""
JUDGED_DATAGRAMS: Final = 3.0
"""Blocks of fewer datagrams on average say nothing of that."""
JUDGED_MEMORY: Final = 2.0
"""Seconds after which an observation counts half, when that is judged."""
JUDGED_AFTER: Final = 3 * JUDGED_MEMORY
"""Seconds of repairing until it is judged: what was lost before could not be mended."""
REST: Final = 30.0
"""Seconds for which blocks are then not repaired."""


class Repairing:
    """For one pair of keys. `wanted` says whether blocks are repaired now."""

    __slots__ = ("_hit", "_lost", "_mended", "_resting", "_seen", "_since", "_tried", "wanted")

    def __init__(self, now: float, before: Repairing | None = None) -> None:
        """`before` is that of the keys before: the path is the same."""
        self.wanted = True
        self._seen = now
        self._hit = self._tried = 0.0
        """Blocks that were lost or mended, and the datagrams of all: at least so many of those were lost."""
        self._lost = self._mended = 0.0
        self._since = now - JUDGED_AFTER
        """When repairing began."""
        self._resting = now
        """Until then nothing is repaired."""
        if before is not None:
            self.wanted, self._since, self._resting = before.wanted, before._since, before._resting
            self._hit, self._tried = before._hit, before._tried
            self._lost, self._mended = before._lost, before._mended
            self._seen = before._seen

    @property
    def part(self) -> float:
        """Of the datagrams that is lost, 0 to 1."""
        return (EXPECTED[0] + self._hit) / (EXPECTED[1] + self._tried)

    @property
    def limit(self) -> float:
        """Datagrams that a repaired block may have: of those of n, some n * n * part * part / 2 lose two datagrams."""
        return sqrt(2 * ACCEPTABLE) / self.part

    def observed(self, blocks: int, lost: int, mended: int, datagrams: float, now: float) -> None:
        """So many blocks were sent, lost and mended since the last time, and took so many datagrams."""
        keep = 0.5 ** (max(now - self._seen, 0.0) / JUDGED_MEMORY)
        self._seen = now
        tried = self._tried + datagrams
        weight = min(1.0, REMEMBERED / max(tried, 1.0))
        self._hit, self._tried = (self._hit + lost + mended) * weight, tried * weight
        self._lost, self._mended = self._lost * keep + lost, self._mended * keep + mended
        if not self.wanted:
            self._since = now
        elif now >= self._since + JUDGED_AFTER and datagrams >= JUDGED_DATAGRAMS * blocks and self._is_no_help():
            self._resting = now + REST
        least = REPAIRED_FROM / 2 if self.wanted else REPAIRED_FROM
        self.wanted = least <= self.part <= REPAIRED_TO and now >= self._resting

    def _is_no_help(self) -> bool:
        return self._lost > max(JUDGED_LOST, JUDGED_RATIO * self._mended)
