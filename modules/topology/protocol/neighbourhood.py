"""Which nodes should be near neighbours: two on each side, by ids alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable
from itertools import chain
from typing import Final

from ipop_modules.topology.protocol import ids

NEAR: Final = 2
"""Near links on each side."""


def near_targets(me: bytes, nodes: Collection[bytes], counts: Callable[[bytes], bool]) -> list[bytes]:
    """The nodes to have near links to: clockwise nearest first, then the others.

    On each side as many as make up NEAR that can be counted on. Nodes that can't (newcomers that are not in the ring
    yet, nodes that went away) come on top, at most NEAR of them on each side.
    """
    chosen: dict[bytes, None] = {}
    for side in ids.around(me, nodes):
        sure = unsure = 0
        for node in side:
            if sure == NEAR:
                break
            if counts(node):
                sure += 1
            elif unsure < NEAR:
                unsure += 1
            else:
                continue
            chosen[node] = None
    return list(chosen)


def nearest_members(me: bytes, members: Collection[bytes], count: int = NEAR) -> tuple[bytes, ...]:
    """Up to `count` members on each side, each once."""
    forward, backward = ids.around(me, members)
    return tuple(dict.fromkeys(forward[:count] + backward[:count]))


def next_to(
    me: bytes, near: Collection[bytes], named: Iterable[Collection[bytes]], linked: Container[bytes]
) -> set[bytes]:
    """The members next to `me`, as far as it and its near neighbours know; `named` is what each of these names.

    One neighbour alone may name whom it likes. Who is among the three next to this node on a side is linked, or named
    by two of the near neighbours, being near to both; so what one alone names counts only where it lies beyond those.
    """
    count = Counter(chain.from_iterable(map(set, named)))
    count.pop(me, None)
    sure = {*near, *(node for node, times in count.items() if times > 1 or node in linked)}
    side = min(NEAR + 1, len(sure) // 2)
    forward, backward = ids.around(me, sure)
    start, end = (forward[side - 1], backward[side - 1]) if side else (me, me)
    return sure | {node for node in count if node not in sure and ids.between(start, node, end)}


def estimate_size(me: bytes, around: Collection[bytes]) -> int:
    """How many nodes the ring has, from the density of those next to `me` without gaps: `around`, itself left out.

    Exact while these are all there are.
    """
    side = min(len(around) // 2, 2 * NEAR)
    if side < NEAR:
        return len(around) + 1
    forward, backward = ids.around(me, around)
    arc = ids.clockwise(backward[side - 1], forward[side - 1])
    return max(len(around) + 1, round(2 * side * ids.RING / arc))
