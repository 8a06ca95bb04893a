"""The reader's side of the directory: who owns an address.

A lookup asks the member nearest to the key, again after a while because messages get lost, and ends within LIMIT. When
that member has no record, two of its neighbours are asked as well: it may be new, and the record still on its way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.cache import Cache
from ipop_modules.topology.protocol.chance import Random, request_number
from ipop_modules.topology.protocol.effects import Resolved
from ipop_modules.topology.protocol.messages import Copy, Get, GetAnswer
from ipop_modules.topology.protocol.records import Record, Verify, address_key, is_genuine
from ipop_modules.topology.protocol.ring import Ring

LIMIT: Final = 2.4
RETRIES: Final = (0.3, 0.7, 0.7)
YOUNG: Final = 5.0
"""Seconds after joining in which "absent" may mean that the owner is just registering: ask again."""
YOUNG_RETRY: Final = 0.15
SECOND_OPINION: Final = 0.5
SECOND_OPINIONS: Final = 2
MAX_LOOKUPS: Final = 1024


@dataclass(slots=True)
class _Lookup:
    address: bytes
    key: bytes
    number: int
    started: float
    try_at: float | None = None
    """When to ask the nearest member (again); None before this node is in the ring."""
    tries: int = 0
    absent: bool = False
    replicas: set[bytes] = field(default_factory=set)
    """Neighbours of the key that were asked for a second opinion and have not answered."""
    asked_replicas: bool = False
    give_up_at: float | None = None


class Lookups:
    def __init__(self, ring: Ring, namespace_key: bytes, random: Random, verify: Verify) -> None:
        self._ring = ring
        self._namespace_key = namespace_key
        self._random = random
        self._verify = verify
        self._cache = Cache()
        self._by_key: dict[bytes, _Lookup] = {}
        self._by_number: dict[int, _Lookup] = {}

    def resolve(self, address: bytes, now: float, *, fresh: bool = False) -> None:
        """Ends in one Resolved for the address, at once or within LIMIT. `fresh` passes over the cache."""
        key = address_key(self._namespace_key, address)
        cached = None if fresh else self._cache.get(key, now)
        if cached is not None:
            lease = cached.lease_ends - now if cached.lease_ends is not None else None
            self._ring.out.emit(Resolved(address, cached.node, True, "cache", lease, 0.0))
            return
        if key in self._by_key:
            return
        if len(self._by_key) >= MAX_LOOKUPS:
            self._ring.out.emit(Resolved(address, None, False, "none", None, 0.0))
            return
        lookup = _Lookup(address, key, request_number(self._random), now)
        self._by_key[key] = self._by_number[lookup.number] = lookup
        if self._ring.member:
            self._ask(lookup, now)

    def on_joined(self, now: float) -> None:
        for lookup in self._by_key.values():
            self._ask(lookup, now)

    def on_answer(self, answer: GetAnswer, sender: bytes, now: float) -> bool:
        """False when the answer belongs to no lookup."""
        lookup = self._by_number.get(answer.number)
        if lookup is None:
            return False
        for copy in answer.copies:
            if self._answers(copy.record, lookup):
                self._found(lookup, copy, now)
                return True
        self._note_absent(lookup, answer, sender, now)
        return True

    def wake(self, now: float) -> None:
        for lookup in list(self._by_key.values()):
            if min(lookup.started + LIMIT, lookup.give_up_at or now + LIMIT) <= now:
                self._end_without_owner(lookup, now)
            elif lookup.try_at is not None and lookup.try_at <= now:
                self._ask(lookup, now)

    def next_wake(self) -> float | None:
        times = [lookup.started + LIMIT for lookup in self._by_key.values()]
        for lookup in self._by_key.values():
            times += [time for time in (lookup.try_at, lookup.give_up_at) if time is not None]
        return min(times, default=None)

    def _ask(self, lookup: _Lookup, now: float) -> None:
        lookup.try_at = now + RETRIES[min(lookup.tries, len(RETRIES) - 1)]
        lookup.tries += 1
        self._ring.out.to_closest(lookup.key, Get(lookup.number, self._ring.me, None, "one", lookup.key))

    def _answers(self, record: Record, lookup: _Lookup) -> bool:
        return record.kind == "one" and record.key == lookup.key and is_genuine(record, self._verify)

    def _found(self, lookup: _Lookup, copy: Copy, now: float) -> None:
        lease = float(min(copy.remaining, copy.record.lease))
        self._cache.found(lookup.key, copy.record.owner, lease, now)
        self._end(lookup, Resolved(lookup.address, copy.record.owner, True, "directory", lease, now - lookup.started))

    def _note_absent(self, lookup: _Lookup, answer: GetAnswer, sender: bytes, now: float) -> None:
        lookup.absent = True
        if self._may_yet_come(now):
            lookup.try_at = now + YOUNG_RETRY
        elif not lookup.asked_replicas:
            lookup.try_at = None
            lookup.give_up_at = now + SECOND_OPINION
            self._ask_replicas(lookup, answer, sender)
        else:
            lookup.replicas.discard(sender)
        if lookup.asked_replicas and not lookup.replicas:
            self._end_without_owner(lookup, now)

    def _ask_replicas(self, lookup: _Lookup, answer: GetAnswer, sender: bytes) -> None:
        lookup.asked_replicas = True
        others = sorted(set(answer.near) - {sender}, key=lambda node: ids.distance(node, lookup.key))
        for node in others[:SECOND_OPINIONS]:
            lookup.replicas.add(node)
            self._ring.out.to_node(node, None, Get(lookup.number, self._ring.me, None, "one", lookup.key))

    def _may_yet_come(self, now: float) -> bool:
        """A node that has no neighbours only knows what it stored itself: more may come with the next link."""
        return not self._ring.near or self._ring.joined_at is None or now < self._ring.joined_at + YOUNG

    def _end_without_owner(self, lookup: _Lookup, now: float) -> None:
        certain = lookup.absent and bool(self._ring.near)
        if certain and not self._may_yet_come(now):
            self._cache.absent(lookup.key, now)
        took = now - lookup.started
        self._end(lookup, Resolved(lookup.address, None, certain, "directory" if certain else "none", None, took))

    def _end(self, lookup: _Lookup, resolved: Resolved) -> None:
        del self._by_key[lookup.key], self._by_number[lookup.number]
        self._ring.out.emit(resolved)
