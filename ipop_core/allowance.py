"""So many at once and so many a second for each of many, so that what one brings about is not at the others' cost.

A message that was routed bears its sender's name only as a claim, so it counts for whoever handed it over.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from ipop_core.token_bucket import TokenBucket

MOST: Final = 4096


class Allowance:
    def __init__(self, rate: float, burst: float, most: int = MOST) -> None:
        """`rate`: so many a second, `burst`: so many at once, each of one.

        Of more than `most`, the one that was silent longest begins anew.
        """
        self._rate = rate
        self._burst = burst
        self._most = most
        self._buckets: dict[Hashable, TokenBucket] = {}
        self.refused = 0

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._buckets)

    def take(self, who: Hashable, now: float) -> bool:
        """Whether this one has one left."""
        bucket = self._buckets.pop(who, None) or TokenBucket(self._rate, self._burst, now)
        self._buckets[who] = bucket
        if len(self._buckets) > self._most:
            del self._buckets[next(iter(self._buckets))]
        if bucket.take(now):
            return True
        self.refused += 1
        return False
