"""So much of one kind of message from each neighbour a second.

A message that was routed bears its sender's name only as a claim, so it counts for the neighbour that handed it over.
"""

from __future__ import annotations

from typing import Final

from ipop_core.token_bucket import TokenBucket

MAX_NEIGHBOURS: Final = 4096
"""Of more than these, the one that was silent longest begins anew."""


class Allowance:
    def __init__(self, rate: float, burst: float) -> None:
        """`rate`: messages a second, `burst`: messages at once, each of one neighbour."""
        self._rate = rate
        self._burst = burst
        self._buckets: dict[bytes, TokenBucket] = {}
        self.refused = 0

    def take(self, neighbour: bytes, now: float) -> bool:
        """Whether one more message from this neighbour may be worked on."""
        bucket = self._buckets.pop(neighbour, None) or TokenBucket(self._rate, self._burst, now)
        self._buckets[neighbour] = bucket
        if len(self._buckets) > MAX_NEIGHBOURS:
            del self._buckets[next(iter(self._buckets))]
        if bucket.take(now):
            return True
        self.refused += 1
        return False
