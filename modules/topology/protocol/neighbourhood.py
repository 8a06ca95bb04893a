"""Which nodes should be near neighbours: two on each side, by ids alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable
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

    Near neighbours may name whom they like, so what no link of this node confirms counts with bounds. Nearer than the
    NEAR linked ones on a side there can be a newcomer, and one that no link can be made with: one such, named by two.
    Beyond those, whoever two name; and farther than the three nearest of all these, whoever one names.
    """
    once: set[bytes] = set()
    twice: set[bytes] = set()
    for nodes in named:
        twice |= once.intersection(nodes)
        once |= {*nodes} - {me}
    linked = {*near, *(node for node in once if node in linked)}
    sure = linked | _believed(me, linked, twice - linked)
    start, end = _ends(me, sure, NEAR + 1)
    return sure | {node for node in once - sure if ids.between(start, node, end)}


def _believed(me: bytes, linked: Collection[bytes], named: Collection[bytes]) -> set[bytes]:
    """Of those that two near neighbours name, the nearest on each side, and all beyond the linked ones next to `me`."""
    start, end = _ends(me, linked, NEAR)
    forward, backward = ids.around(me, named)
    return {*forward[:1], *backward[:1], *(node for node in named if ids.between(start, node, end))}


def _ends(me: bytes, nodes: Collection[bytes], count: int) -> tuple[bytes, bytes]:
    """The last of so many on each side, or of so many that no two are the same; `me` where there is only one."""
    side = min(count, len(nodes) // 2)
    forward, backward = ids.around(me, nodes)
    return (forward[side - 1], backward[side - 1]) if side else (me, me)


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
