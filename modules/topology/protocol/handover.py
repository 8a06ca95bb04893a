"""What a member hands over to its near neighbours because the ring around it has changed.

One that is new, or that forgot what it stored, gets all that it should hold. One that has been there for long gets what
it should hold only now that others between the key and it are gone: nobody whose neighbour it has just become may have
that. Of these the two that lie next to it on the way to the key see it, as far as they know who is around them.

Neighbours say who is around, and may lie, so nobody is handed the same twice: who says that others come and go has
everything handed over once, and once more where its owner has renewed it. Only who may have forgotten it gets it again,
now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from math import inf
from typing import Final

from ipop_modules.topology.protocol.keepers import SIDE, Keepers
from ipop_modules.topology.protocol.messages import Copy
from ipop_modules.topology.protocol.neighbourhood import NEAR
from ipop_modules.topology.protocol.records import Record
from ipop_modules.topology.protocol.ring import Ring
from ipop_modules.topology.protocol.store import Store

HANDED_OVER_EVERY: Final = 10.0
"""Seconds between handing everything over to one neighbour, whatever it says of itself."""
LOOKED_EVERY: Final = 2.0
"""Seconds between looking through everything, whatever is said of who is around."""
YOUNG: Final = 10.0
"""Seconds after joining in which a member's neighbours still change; those hand over what it could."""


class HandOver:
    def __init__(self, ring: Ring, store: Store, send: Callable[[list[Copy], bytes], None]) -> None:
        self._ring = ring
        self._store = store
        self._send = send
        self._handed: dict[bytes, set[Record]] = {}
        """By near neighbour, what it was handed; when swept no more than twice what is here."""
        self._handed_at: dict[bytes, float] = {}
        """When everything was handed over to a neighbour last; only the last HANDED_OVER_EVERY seconds."""
        self._due: dict[bytes, float] = {}
        """When it is to be handed over again."""
        self._surroundings: Set[bytes] = frozenset()
        self._keepers: Keepers | None = None
        """By these surroundings; None before this node is a member."""
        self._looked_at = -inf
        self._look_at = inf

    def gained(self, node: bytes, now: float) -> bool:
        """A near neighbour is new: give it what it is to hold from now on, at once or when it had it lately, later.

        Whether it was done at once.
        """
        self._handed_at = {other: at for other, at in self._handed_at.items() if now < at + HANDED_OVER_EVERY}
        if node in self._handed_at:
            self._due[node] = self._handed_at[node] + HANDED_OVER_EVERY
            return False
        self._handed_at[node] = now
        keepers = Keepers((self._ring.me, *self._ring.around(SIDE + NEAR), node))
        places = [(kind, key) for kind, key in self._store.places() if node in keepers.of(key)]
        due = [copy for kind, key in places for copy in self._store.all_to_hand_on(kind, key, now)]
        self._handed[node] = {copy.record for copy in due}
        self._send(due, node)
        return True

    def review(self, now: float) -> None:
        """Something may have changed in the ring."""
        surroundings = self._ring.surroundings
        if surroundings is self._surroundings or not self._ring.member:
            return
        if now < self._looked_at + LOOKED_EVERY:
            self._look_at = self._looked_at + LOOKED_EVERY
            return
        is_same, self._surroundings = surroundings == self._surroundings, surroundings
        if is_same:
            return
        before, self._keepers = self._keepers, Keepers((self._ring.me, *self._ring.around(SIDE + NEAR)))
        if before is not None and not self._is_young(now):
            self._looked_at = now
            self._complete(before, self._keepers, now)

    def _is_young(self, now: float) -> bool:
        return self._ring.joined_at is None or now < self._ring.joined_at + YOUNG

    def sweep(self) -> None:
        """Forget to whom was handed over who is not near; and what was, where it is far more than what is here now."""
        self._handed = {node: handed for node, handed in self._handed.items() if node in self._ring.near}
        for handed in self._handed.values():
            if len(handed) > 2 * len(self._store):
                handed.difference_update([record for record in handed if not self._store.holds(record)])

    def wake(self, now: float) -> None:
        for node in [node for node, at in self._due.items() if at <= now]:
            del self._due[node]
            if node in self._ring.near:
                self.gained(node, now)
        if self._look_at <= now:
            self._look_at = inf
            self.review(now)

    def next_wake(self) -> float:
        return min(self._look_at, *self._due.values()) if self._due else self._look_at

    def _complete(self, before: Keepers, keepers: Keepers, now: float) -> None:
        """Give the near neighbours what they did not have to hold before; all claims to one key together."""
        near = set(self._ring.near)
        due: dict[bytes, list[Copy]] = {}
        for kind, key in self._store.places():
            new = near.intersection(keepers.of(key)).difference(before.of(key))
            copies = self._store.all_to_hand_on(kind, key, now) if new else []
            records = [copy.record for copy in copies]
            for node in new:
                handed = self._handed.setdefault(node, set())
                if not handed.issuperset(records):
                    handed.update(records)
                    due.setdefault(node, []).extend(copies)
        for node, copies in sorted(due.items()):
            self._send(copies, node)
