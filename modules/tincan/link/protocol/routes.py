"""The table by which packets for other nodes are forwarded: greedy on the nearer id, in either direction of the ring.

Distance strictly falls at every hop, so a packet cannot circle (Symphony, USITS 2003, section 3).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Final

RING: Final = 1 << 160


def distance(a: int, b: int) -> int:
    """Steps between two ids on the ring, the shorter way round."""
    clockwise = (a - b) % RING
    return min(clockwise, RING - clockwise)


class Routes:
    """Who is the next hop towards an id. Pushed by the topology module, kept while it is away."""

    def __init__(self, own: bytes) -> None:
        self.own: Final = int.from_bytes(own)
        self.member = False
        """This node is part of the ring: packets for the nearest node may end here, and it forwards for others."""
        self._ids: list[int] = []
        self._next: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def replace(self, routes: Iterable[tuple[bytes, bytes]], *, member: bool) -> None:
        """Take a new table of (node, next hop)."""
        self.member = member
        self._next = {int.from_bytes(node): following for node, following in routes}
        self._next.pop(self.own, None)
        self._ids = sorted(self._next)

    def towards(self, to: bytes, usable: Callable[[bytes], bool]) -> bytes | None:
        """The next hop for a packet to `to`: usable, and strictly nearer than this node; None when there is none.

        A node outside the ring is near to nothing: it hands every packet to the nearest neighbour it has.
        """
        target = int.from_bytes(to)
        limit = distance(self.own, target) if self.member else RING
        ids = self._ids
        count = len(ids)
        if not count:
            return None
        up = bisect_left(ids, target) % count
        down = (up - 1) % count
        for _ in range(count):
            above, below = distance(ids[up], target), distance(ids[down], target)
            nearest, gap = (ids[up], above) if above <= below else (ids[down], below)
            if gap >= limit:
                return None
            following = self._next[nearest]
            if usable(following):
                return following
            if nearest == ids[up]:
                up = (up + 1) % count
            else:
                down = (down - 1) % count
        return None
