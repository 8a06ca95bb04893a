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
        self._line = sorted({*known})

    def of(self, key: bytes) -> list[bytes]:
        line = self._line
        if len(line) <= REPLICAS:
            return line
        after = bisect_left(line, key)
        is_before = ids.closest(key, (line[after - 1], line[after % len(line)])) == line[after - 1]
        first = after - is_before
        return [line[(first + step) % len(line)] for step in range(-SIDE, SIDE + 1)]
