"""The table by which packets for other nodes are forwarded: towards the known node that is nearest to the target.

The table holds direct neighbours and, with the neighbour through which each is reached, nodes beyond them. A packet for
a node beyond carries that node's id as its `mark`: a promise that the next hop is to keep.

Why no packet circles, whatever the tables of the nodes on its way hold, and even while they change. Write d for the
distance to the target. A packet's bound is d(mark), or d(this node) when it has no mark.

1. A node sends it towards a known node x with d(x) below the bound: the bound falls strictly, to d(x), be x a neighbour
   (which gets it without a mark) or beyond one (the mark is x).
2. Where it knows no such x, but the mark is a neighbour of its own, it hands it over: the bound stays, the mark goes.
   The next step is 1 or the end of the way.
3. Otherwise the promise was broken, because a list was stale. The packet becomes `strict` for good: from now on each
   hop must be a neighbour strictly nearer to the target than the node that has it.

So (bound, marked) falls in lexicographic order at every hop until a packet becomes strict, which happens once, and from
then on d(this node) falls: there are finitely many ids. The hop limit is there for nodes that lie. Without stale lists
the way ends at the member nearest to the target, as plain greedy routing does (Symphony, USITS 2003, section 3); it
takes fewer hops because each one sees two links ahead.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

RING: Final = 1 << 160


def distance(a: int, b: int) -> int:
    """Steps between two ids on the ring, the shorter way round."""
    clockwise = (a - b) % RING
    return min(clockwise, RING - clockwise)


class Step(msgspec.Struct, frozen=True):
    """The neighbour that gets a packet next, and what the packet carries from there on."""

    following: bytes
    mark: bytes | None = None
    strict: bool = False


class Routes:
    """Who is the next hop towards an id. Pushed by the topology module, kept while it is away."""

    def __init__(self, own: bytes) -> None:
        self.own: Final = int.from_bytes(own)
        self.member = False
        """This node is part of the ring: packets for the nearest node may end here, and it forwards for others."""
        self._table: dict[bytes, bytes] = {}
        self._nodes: list[bytes] | None = []
        """Those of the table, in order; None until somebody looks the new one up."""

    def __len__(self) -> int:
        return len(self._table)

    def replace(self, routes: Mapping[bytes, bytes], *, member: bool) -> None:
        """Take a new table: nodes, and the next hop to each."""
        self.member = member
        self._table = dict(routes)
        self._table.pop(self.own.to_bytes(20), None)
        self._nodes = None

    def entries(self) -> list[tuple[bytes, bytes]]:
        """The table: each node, and the next hop to it."""
        return list(self._table.items())

    def step(
        self, to: bytes, usable: Callable[[bytes], bool], mark: bytes | None = None, *, strict: bool = False
    ) -> Step | None:
        """Where a packet to `to` goes next; None when its way ends here.

        `usable` tells whether there is a direct link to a node. A node outside the ring is near to nothing: it hands
        every packet to the nearest neighbour it has.
        """
        if not self.member:
            return self._nearer(to, RING, usable, strict=False)
        target = int.from_bytes(to)
        own = distance(self.own, target)
        if strict:
            return self._nearer(to, own, usable, strict=True)
        bound = own if mark is None else distance(int.from_bytes(mark), target)
        for node, following in self._from_nearest(to, bound):
            if usable(node):
                return Step(node)
            if usable(following):
                return Step(following, node)
        if mark is None:
            return None
        if usable(mark):
            return Step(mark)
        return self._nearer(to, own, usable, strict=True)

    def _nearer(self, to: bytes, limit: int, usable: Callable[[bytes], bool], *, strict: bool) -> Step | None:
        """The neighbour that is nearest to an id, if it is nearer than `limit`."""
        for node, following in self._from_nearest(to, limit):
            if node == following and usable(node):
                return Step(node, strict=strict)
        return None

    def _from_nearest(self, to: bytes, limit: int) -> Iterator[tuple[bytes, bytes]]:
        """The table's entries that are nearer to an id than `limit`, nearest first."""
        nodes = self._in_order()
        count = len(nodes)
        if not count:
            return
        target = int.from_bytes(to)
        up = bisect_left(nodes, to) % count
        down = (up - 1) % count
        for _ in range(count):
            above = distance(int.from_bytes(nodes[up]), target)
            below = distance(int.from_bytes(nodes[down]), target)
            if min(above, below) >= limit:
                return
            if above <= below:
                yield nodes[up], self._table[nodes[up]]
                up = (up + 1) % count
            else:
                yield nodes[down], self._table[nodes[down]]
                down = (down - 1) % count

    def _in_order(self) -> list[bytes]:
        if self._nodes is None:
            self._nodes = sorted(self._table)
        return self._nodes
