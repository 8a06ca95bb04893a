"""Neighbours' neighbours: what neighbours say of their links, and the table of routes that follows from it.

Every node tells its direct neighbours who its other neighbours are, when that has changed and not more often than every
CHANGES seconds. So a node with 24 links knows about 500 nodes and through whom each is reached, and forwards towards
the one nearest to a packet's destination (Manku, Naor and Wieder, "Know thy neighbor's neighbor", STOC 2004).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final
from zlib import crc32

from ipop_modules.topology.protocol.messages import MAX_NEIGHBOURS

CHANGES: Final = 5.0
"""Seconds between two lists, and between two tables that differ only in nodes beyond the neighbours."""
MAX_BEYOND: Final = 3072


class Lookahead:
    def __init__(self, me: bytes) -> None:
        self._me = me
        self._ways: dict[bytes, dict[bytes, bytes]] = {}
        """By neighbour: the nodes of its list, with itself as the way to each."""
        self._marks: dict[bytes, int] = {}
        """Of the lists, by neighbour."""

    def hear(self, neighbour: bytes, nodes: tuple[bytes, ...]) -> bool:
        """Take a neighbour's list; whether it differs from its last one."""
        mark = mark_of(nodes)
        if self._marks.get(neighbour) == mark:
            return False
        self._marks[neighbour] = mark
        self._ways[neighbour] = dict.fromkeys(nodes, neighbour)
        return True

    def forget(self, neighbour: bytes) -> None:
        self._ways.pop(neighbour, None)
        self._marks.pop(neighbour, None)

    def has(self, neighbour: bytes, mark: int) -> bool:
        """Whether the neighbour's list is known as it stands."""
        return self._marks.get(neighbour, 0) == mark

    def hops(self, neighbours: Collection[bytes]) -> dict[bytes, bytes]:
        """The table: the neighbours themselves, and through which of them who else is reached."""
        hops: dict[bytes, bytes] = {}
        for neighbour in neighbours:
            hops.update(self._ways.get(neighbour, ()))
        for node in (self._me, *neighbours):
            hops.pop(node, None)
        while len(hops) > MAX_BEYOND:
            hops.popitem()
        hops.update(zip(neighbours, neighbours, strict=True))
        return hops


def listed(nodes: Iterable[bytes]) -> tuple[bytes, ...]:
    """What is told of this node's neighbours: all, or of too many some from all around the ring."""
    in_order = sorted(nodes)
    if len(in_order) <= MAX_NEIGHBOURS:
        return tuple(in_order)
    return tuple(in_order[index * len(in_order) // MAX_NEIGHBOURS] for index in range(MAX_NEIGHBOURS))


def mark_of(nodes: tuple[bytes, ...]) -> int:
    """32 bits that differ when the list does; 0 for none."""
    return crc32(b"".join(nodes))
