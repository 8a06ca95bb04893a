"""Rings that meet at one node grow together at many places at once, not only from there around the circle.

A member that gets a near neighbour which is a member already, and which knows next to none of this node's neighbours,
has met another ring. It names that door to its long neighbours (`OtherRing`). Each of them links to the door for a
while and asks through it for its own place on the other side; who finds one has met the other ring in its turn. So the
news spreads as in an epidemic, while near neighbours close the gaps in between.

A neighbour's word makes a node open one link, and not another one for `PAUSE` seconds: a liar gains no more than by
naming near neighbours in its Hello.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import inf
from typing import Final

from ipop_modules.topology.protocol.effects import Connect, Release
from ipop_modules.topology.protocol.messages import OtherRing
from ipop_modules.topology.protocol.outbox import Outbox

KIND: Final = "door"
SETTLED: Final = 5.0
"""Seconds that a node is in its ring before it can tell another ring from the one that it has just joined."""
SHARED: Final = 1
"""So many common neighbours may members of two rings have: the node at which they met is one."""
OPEN: Final = 6.0
"""Seconds that a door is kept for: a handshake, a question and the answer."""
PAUSE: Final = 10.0


class Merging:
    def __init__(self, me: bytes, out: Outbox) -> None:
        self._me = me
        self._out = out
        self._met_at: float | None = None
        self._door: bytes | None = None
        self._until = 0.0
        self._next = 0.0
        """When the next door may be opened."""

    def __contains__(self, node: bytes) -> bool:
        return node == self._door

    def met(
        self, node: bytes, near: Collection[bytes], own_near: Collection[bytes], told: Iterable[bytes], now: float
    ) -> None:
        """A member became a near neighbour; `near` are its neighbours, `told` this node's long ones."""
        if len({self._me, *own_near}.intersection(near)) > SHARED:
            return
        if self._met_at is not None and now < self._met_at + PAUSE:
            return
        self._met_at = now
        for neighbour in told:
            self._out.to_neighbour(neighbour, OtherRing(node))

    def on_other_ring(self, door: bytes, sender: bytes, now: float) -> None:
        """A long neighbour has met another ring, and names one of its members."""
        if door == self._me or now < self._next or (self._met_at is not None and now < self._met_at + PAUSE):
            return
        self._door, self._until, self._next = door, now + OPEN, now + PAUSE
        self._out.emit(Connect(door, sender, KIND))

    def close(self) -> None:
        """The door is not needed any more, or could not be opened."""
        if self._door is not None:
            self._out.emit(Release(self._door, KIND))
            self._door = None

    def relink(self, wanted: Iterable[bytes]) -> None:
        """The link module, or this one, was restarted: it knows of doors of an earlier time."""
        for node in wanted:
            if node != self._door:
                self._out.emit(Release(node, KIND))

    def wake(self, now: float) -> None:
        if self._door is not None and self._until <= now:
            self.close()

    def next_wake(self) -> float:
        return self._until if self._door is not None else inf
