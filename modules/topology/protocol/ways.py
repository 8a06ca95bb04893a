"""By which neighbour each question of one lookup leaves, and its answer comes back.

Nothing in an answer proves who sent it, so whoever carries a question can answer it in a storer's name; and a node with
a false list of neighbours draws questions to itself that would not pass it otherwise. So no two questions of a lookup
leave by the same neighbour, as far as there are enough, and what is asked again takes neighbours that were not taken
before. A question is straight where its way begins at the very node that is nearest to its point: then no list of
neighbours, true or false, had a part in it. A leaf knows no more than its neighbours, so none of its questions is.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.ring import Ring


class Ways:
    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._hops: dict[int, bytes] = {}
        """By request number, the neighbour that the question left by last."""
        self._used: set[bytes] = set()
        self._straight: set[int] = set()

    def first(self, number: int, point: bytes) -> bytes | None:
        """The neighbour to go by, None for the shortest way: it is taken unless another question has the same one."""
        self._hops.pop(number, None)
        self._straight.discard(number)
        if self._ring.is_closest(point):
            self._straight.add(number)
            return None
        taken = set(self._hops.values())
        hops = self._ring.hops
        shortest = _way(hops, point, ())
        way = _way(hops, point, taken) or shortest
        if way is None:
            return None
        node, hop = way
        self._take(number, hop)
        if self._ring.member and node == hop and way == shortest and hop not in taken:
            self._straight.add(number)
        return None if way == shortest else hop

    def other(self, number: int) -> bytes | None:
        """A neighbour that no question has gone by yet, as far as there are any."""
        self._hops.pop(number, None)
        self._straight.discard(number)
        taken = set(self._hops.values())
        hop = self._ring.detour(self._used | taken) or self._ring.detour(taken) or self._ring.detour()
        if hop is not None:
            self._take(number, hop)
        return hop

    def are_straight(self, numbers: Iterable[int]) -> int:
        """How many of these questions went to their storer without a relay that one had to believe."""
        return len(self._straight.intersection(numbers))

    def _take(self, number: int, hop: bytes) -> None:
        self._hops[number] = hop
        self._used.add(hop)


def _way(hops: Mapping[bytes, bytes], point: bytes, avoiding: Container[bytes]) -> tuple[bytes, bytes] | None:
    """Of the nodes whose way begins with others than `avoiding`, the one nearest to `point`, and that neighbour."""
    nearest = ids.closest(point, (node for node, hop in hops.items() if hop not in avoiding))
    return None if nearest is None else (nearest, hops[nearest])
