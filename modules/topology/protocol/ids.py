"""Ids on the ring: 160 bits, 20 bytes in network order, that wrap around.

`clockwise` is the direction of growing ids. A distance without a direction is the shorter of the two ways round.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Final

SIZE: Final = 20
RING: Final = 1 << 8 * SIZE
HALF: Final = RING >> 1


def number(node: bytes) -> int:
    return int.from_bytes(node, "big")


def from_number(value: int) -> bytes:
    """The id of `value`, taken modulo the ring's size."""
    return (value % RING).to_bytes(SIZE, "big")


def clockwise(start: bytes, end: bytes) -> int:
    """Steps from `start` to `end` in the direction of growing ids: 0 to RING - 1."""
    return (number(end) - number(start)) % RING


def distance(one: bytes, other: bytes) -> int:
    """Steps between two ids, the shorter way round: 0 to RING / 2."""
    steps = clockwise(one, other)
    return min(steps, RING - steps)


def between(start: bytes, node: bytes, end: bytes) -> bool:
    """Whether one meets `node` strictly between `start` and `end`, going clockwise.

    From an id to itself is once round the whole ring.
    """
    span = clockwise(start, end) or RING
    return 0 < clockwise(start, node) < span


def closest(target: bytes, nodes: Iterable[bytes]) -> bytes | None:
    """The node nearest to `target`; of two that are equally near, the lower id. None when there is none."""
    ordered = sorted(nodes)
    if not ordered:
        return None
    after = bisect_left(ordered, target) % len(ordered)
    return min(ordered[after - 1], ordered[after], key=lambda node: (distance(node, target), node))


def in_order(start: bytes, nodes: Iterable[bytes]) -> list[bytes]:
    """The nodes other than `start`, as one meets them going clockwise from it."""
    ordered = sorted(nodes)
    return ordered[bisect_right(ordered, start) :] + ordered[: bisect_left(ordered, start)]


def around(start: bytes, nodes: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The nodes other than `start`, nearest first: clockwise, and counter-clockwise."""
    forward = in_order(start, nodes)
    return forward, forward[::-1]
