"""Which members should hold what lies under a key: the one nearest to it, and SIDE on each side of that."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from ipop_modules.topology.protocol import ids

SIDE: Final = 3
"""Replicas on each side of the member that is nearest to a key: a third of all nodes may die at once."""
REPLICAS: Final = 1 + 2 * SIDE


class Keepers:
    """As far as they are among the members that somebody knows, itself included."""

    def __init__(self, known: Iterable[bytes]) -> None:
        line = sorted({*known})
        self._ends: list[bytes] = []
        """The last key of each node, in order: from the one before on, that node is the nearest."""
        self._keepers = [line]
        if len(line) > REPLICAS:
            ends = sorted((_end(node, line[at + 1 - len(line)]), at) for at, node in enumerate(line))
            twice = line[-SIDE:] + line + line[:SIDE]
            self._ends = [end for end, _ in ends]
            self._keepers = [twice[at : at + REPLICAS] for _, at in ends]

    def of(self, key: bytes) -> list[bytes]:
        return self._keepers[bisect_left(self._ends, key) % len(self._keepers)]


def _end(node: bytes, following: bytes) -> bytes:
    """The last key that is nearer to a node than to the one after it, clockwise; of equals the lower id counts."""
    steps = (ids.clockwise(node, following) - (following < node)) // 2
    return ids.from_number(ids.number(node) + steps)
