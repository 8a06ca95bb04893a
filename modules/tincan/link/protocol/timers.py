"""When there is something to do for which peer: one time each, the earliest that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from math import inf
from typing import Final

SHORTEST_WAIT: Final = 0.01
"""Seconds until a session is looked after again, at the least: no peer may keep this node busy."""


class Timers:
    """Times are seconds on one monotonic clock."""

    def __init__(self) -> None:
        self._at: Final[dict[bytes, float]] = {}
        self._heap: Final[list[tuple[float, bytes]]] = []
        """Entries that an earlier time has replaced stay until their time comes, and are skipped."""

    def plan(self, node: bytes, at: float) -> None:
        """Look after a peer at this time, unless that is planned for an earlier one."""
        if at < self._at.get(node, inf):
            self._at[node] = at
            heappush(self._heap, (at, node))

    def forget(self, node: bytes) -> None:
        self._at.pop(node, None)

    def due(self, now: float) -> Iterator[bytes]:
        """The peers whose time has come; each may be planned again while it is looked after."""
        while self._heap and self._heap[0][0] <= now:
            at, node = heappop(self._heap)
            if self._at.get(node) == at:
                del self._at[node]
                yield node

    def next(self) -> float | None:
        """The earliest time that may be due; None while nothing is planned."""
        return self._heap[0][0] if self._heap else None
