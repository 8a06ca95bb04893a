"""Which nodes should be near neighbours: two on each side, by ids alone."""

from __future__ import annotations

from collections.abc import Callable, Collection
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


def nearest_members(me: bytes, members: Collection[bytes]) -> tuple[bytes, ...]:
    """Up to NEAR members on each side, each once."""
    forward, backward = ids.around(me, members)
    return tuple(dict.fromkeys(forward[:NEAR] + backward[:NEAR]))


def estimate_size(me: bytes, near: Collection[bytes]) -> int:
    """How many nodes the ring has, from the density of the near neighbours; exact for rings of up to 2 * NEAR + 1."""
    if len(near) < 2 * NEAR:
        return len(near) + 1
    forward, backward = ids.around(me, near)
    arc = ids.clockwise(backward[NEAR - 1], forward[NEAR - 1])
    return max(len(near) + 1, round(2 * NEAR * ids.RING / arc))
