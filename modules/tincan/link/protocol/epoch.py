"""Whether a router lost its port mappings, by the seconds that it says it has had them (its epoch).

`portmap.py` hands in the epoch of every answer and announcement, with the time at which it came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

Moment: TypeAlias = tuple[int, float]
"""The router's epoch, and when it was heard on this node's own clock; both in seconds."""

LOST_PACKETS: Final = 2.0
"""Seconds by which both clocks may differ, whatever was late on its way."""


class Epoch:
    """`lost` says by what rule one moment does not follow from the one before."""

    def __init__(self, lost: Callable[[Moment, Moment], bool]) -> None:
        self._lost: Final = lost
        self._before: Moment | None = None

    def heard(self, epoch: int, now: float) -> bool:
        """Take one more; true when the router lost its mappings since the last one."""
        before, self._before = self._before, (epoch, now)
        return before is not None and self._lost(before, self._before)


def lost_by_pcp(before: Moment, after: Moment) -> bool:
    """RFC 6887, section 8.5."""
    router, own = after[0] - before[0], after[1] - before[1]
    return router < -1 or own + LOST_PACKETS < router - router / 16 or router + LOST_PACKETS < own - own / 16


def lost_by_nat_pmp(before: Moment, after: Moment) -> bool:
    """RFC 6886, section 3.6."""
    return after[0] < before[0] + (after[1] - before[1]) * 7 / 8 - LOST_PACKETS
