"""So many a second for each member: what one brings about is not at the others' cost."""

from __future__ import annotations

from typing import Final

from ipop_core.token_bucket import TokenBucket

MAX_MEMBERS: Final = 4096
"""Of more, the one that was silent longest begins anew."""


class Shares:
    def __init__(self, rate: float, burst: float) -> None:
        """`rate`: so many a second, `burst`: so many at once, each of one member."""
        self._rate: Final = rate
        self._burst: Final = burst
        self._buckets: dict[bytes, TokenBucket] = {}

    def take(self, member: bytes, now: float) -> bool:
        """Whether this member (its id) has one left."""
        bucket = self._buckets.pop(member, None) or TokenBucket(self._rate, self._burst, now)
        self._buckets[member] = bucket
        if len(self._buckets) > MAX_MEMBERS:
            del self._buckets[next(iter(self._buckets))]
        return bucket.take(now)
