"""By which neighbour each question of one lookup leaves, and its answer comes back.

Nothing in an answer proves who sent it, so whoever carries a question can answer it in a storer's name; and a node with
a false list of neighbours draws questions to itself that would not pass it otherwise. So no two questions of a lookup
leave by the same neighbour, as far as there are enough, and what is asked again takes neighbours that were not taken
before.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.ring import Ring


class Ways:
    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._hops: dict[int, bytes] = {}
        """By request number, the neighbour that the question left by last."""
        self._used: set[bytes] = set()

    def first(self, number: int, point: bytes) -> bytes | None:
        """The neighbour to go by, None for the shortest way: it is taken unless another question has the same one."""
        self._hops.pop(number, None)
        if self._ring.is_closest(point):
            return None
        taken = set(self._hops.values())
        hops = self._ring.hops
        shortest = _way(hops, point, ())
        way = _way(hops, point, taken) or shortest
        if way is None:
            return None
        _, hop = way
        self._take(number, hop)
        return None if way == shortest else hop

    def other(self, number: int) -> bytes | None:
        """A neighbour that no question has gone by yet, as far as there are any."""
        self._hops.pop(number, None)
        taken = set(self._hops.values())
        hop = self._ring.detour(self._used | taken) or self._ring.detour(taken) or self._ring.detour()
        if hop is not None:
            self._take(number, hop)
        return hop

    def _take(self, number: int, hop: bytes) -> None:
        self._hops[number] = hop
        self._used.add(hop)


def _way(hops: Mapping[bytes, bytes], point: bytes, avoiding: Container[bytes]) -> tuple[bytes, bytes] | None:
    """Of the nodes whose way begins with others than `avoiding`, the one nearest to `point`, and that neighbour."""
    nearest = ids.closest(point, (node for node, hop in hops.items() if hop not in avoiding))
    return None if nearest is None else (nearest, hops[nearest])
