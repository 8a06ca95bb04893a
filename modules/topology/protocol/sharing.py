"""What a node pushes because of its links: its list of neighbours to each of them, and the table of routes.

A change of its own links goes into the table at once, as does a neighbour's first word that it is in the ring. When it
changes its word, the table waits until GAP seconds after the last, and everything else waits longer, so that several
changes go together.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final

from ipop_modules.topology.protocol.effects import Routes
from ipop_modules.topology.protocol.link import Link
from ipop_modules.topology.protocol.lookahead import CHANGES, Lookahead, listed, mark_of
from ipop_modules.topology.protocol.messages import Neighbours
from ipop_modules.topology.protocol.outbox import Outbox

GAP: Final = 0.2
"""Seconds between two tables that differ in what the same neighbours say of themselves."""


class Sharing:
    def __init__(self, me: bytes, out: Outbox, links: Mapping[bytes, Link]) -> None:
        self._out = out
        self._links = links
        self._lookahead = Lookahead(me)
        self._member = False
        self._neighbours: tuple[bytes, ...] | None = None
        self._told: tuple[bytes, ...] = ()
        self.mark = 0
        """Of the list that was told last, as Hello says it."""
        self._routes: Routes | None = None
        self._tell_at = inf
        self._push_at = inf
        self._pushed_at = -inf
        self._routed: set[bytes] = set()
        """Neighbours that have been in a table since their links came up."""

    def review(self, neighbours: tuple[bytes, ...], now: float, *, member: bool) -> None:
        """Links, or this node's place in the ring, may have changed. `neighbours`: those that are in the ring."""
        if member == self._member and neighbours == self._neighbours:
            return
        first = self._neighbours is None
        at_once = first or member != self._member or self._are_others(neighbours)
        self._member, self._neighbours = member, neighbours
        if first and not self._links and not member:
            return
        if at_once or now >= self._pushed_at + GAP:
            self._push(now)
        else:
            self._push_at = min(self._push_at, self._pushed_at + GAP)
        if self._tell_at == inf:
            self._tell_at = now + CHANGES

    @property
    def hops(self) -> Mapping[bytes, bytes]:
        """The table of routes that was pushed last: nodes, and the neighbour through which each is reached."""
        return self._routes.hops if self._routes is not None else {}

    def forget(self) -> None:
        """The link module was restarted: it has no table."""
        self._neighbours = None
        self._routes = None

    def link_down(self, node: bytes) -> None:
        self._lookahead.forget(node)
        self._routed.discard(node)

    def hear(self, neighbour: bytes, said: Neighbours, now: float) -> None:
        if self._lookahead.hear(neighbour, said.nodes) and self._push_at == inf:
            self._push_at = now + CHANGES

    def lacks(self, neighbour: bytes, mark: int) -> bool:
        """Whether a neighbour's list is another one than the last that came."""
        return not self._lookahead.has(neighbour, mark)

    def tell(self, node: bytes) -> None:
        """Say the list once more."""
        self._out.to_neighbour(node, Neighbours(self._told))

    def wake(self, now: float) -> None:
        if self._tell_at <= now:
            self._tell_at = inf
            self._tell_all()
        if self._push_at <= now:
            self._push(now)

    def next_wake(self) -> float:
        return min(self._tell_at, self._push_at)

    def _tell_all(self) -> None:
        told = listed(self._neighbours or ()) if self._member else ()
        if told == self._told:
            return
        self._told, self.mark = told, mark_of(told)
        for node, link in self._links.items():
            if link.member:
                self.tell(node)

    def _are_others(self, neighbours: tuple[bytes, ...]) -> bool:
        """Whether one is new since its link came up, or has no link any more."""
        return not self._routed.issuperset(neighbours) or not self._links.keys() >= {*(self._neighbours or ())}

    def _push(self, now: float) -> None:
        self._push_at, self._pushed_at = inf, now
        self._routed.update(self._neighbours or ())
        routes = Routes(self._member, self._lookahead.hops(sorted(self._neighbours or ())))
        if routes != self._routes:
            self._routes = routes
            self._out.emit(routes)
