"""Who the members of the namespace are, as the directory knows: asked for by whoever needs them all.

Like a lookup (`lookup.py`) the question goes to three members of the ring, and every record that bears its owner's
signature and the namespace's seal counts, of one owner the newest: a storer can leave members out, but not the other
two's, and can invent none. A large set comes in pages. It ends within LIMIT.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.chance import Random, request_number
from ipop_modules.topology.protocol.effects import Listed, MemberOf
from ipop_modules.topology.protocol.messages import MAX_COPIES, Get, GetAnswer
from ipop_modules.topology.protocol.profile import opened
from ipop_modules.topology.protocol.records import Record, Verify, is_genuine, is_sealed, members_key
from ipop_modules.topology.protocol.ring import Ring
from ipop_modules.topology.protocol.store import MAX_IN_SET

LIMIT: Final = 2.4
RETRY: Final = 0.5
WAIT: Final = 0.5
"""Seconds after the first storer has told everything for which the others are waited for."""
MAX_PAGES: Final = -(-MAX_IN_SET // MAX_COPIES) + 1


@dataclass(slots=True)
class _Telling:
    """One storer's answer as it comes."""

    point: bytes
    after: bytes = b""
    pages: int = 0
    is_done: bool = False


class Members:
    def __init__(self, ring: Ring, namespace_key: bytes, random: Random, verify: Verify) -> None:
        self._ring = ring
        self._namespace_key = namespace_key
        self._key = members_key(namespace_key)
        self._random = random
        self._verify = verify
        self._tellings: dict[int, _Telling] = {}
        """By request number; empty while nobody asks."""
        self._records: dict[bytes, Record] = {}
        """By owner; kept from one question to the next, so that a signature is checked once."""
        self._seen: set[bytes] = set()
        self._ends = inf
        """Finite while somebody asks."""
        self._ask_at = inf

    def ask(self, now: float) -> None:
        """Ends in one Listed; asked again meanwhile, it is the same one."""
        if self._ends != inf:
            return
        self._ends = now + LIMIT
        self._seen = set()
        if self._ring.attached:
            self._begin(now)

    def on_joined(self, now: float) -> None:
        if self._ends != inf and not self._tellings:
            self._begin(now)

    def on_answer(self, answer: GetAnswer, now: float) -> bool:
        """False when the answer belongs to no question of this kind."""
        telling = self._tellings.pop(answer.number, None)
        if telling is None:
            return False
        for copy in answer.copies:
            self._take(copy.record)
        telling.pages += 1
        last = max((copy.record.owner for copy in answer.copies), default=b"")
        telling.is_done = len(answer.copies) < MAX_COPIES or telling.pages >= MAX_PAGES or last <= telling.after
        telling.after = last
        number = request_number(self._random)
        self._tellings[number] = telling
        if not telling.is_done:
            self._send(number, telling)
        elif all(other.is_done for other in self._tellings.values()):
            self._end(certain=True)
        else:
            self._ends = min(self._ends, now + WAIT)
        return True

    def wake(self, now: float) -> None:
        if self._ends <= now:
            self._end(certain=any(telling.is_done for telling in self._tellings.values()))
        elif self._ask_at <= now:
            self._ask(now)

    def next_wake(self) -> float:
        return min(self._ends, self._ask_at)

    def _begin(self, now: float) -> None:
        gap = ids.RING * 3 // (2 * max(1, self._ring.size_estimate))
        key = ids.number(self._key)
        for point in (key, key + gap, key - gap):
            self._tellings[request_number(self._random)] = _Telling(ids.from_number(point))
        self._ask(now)

    def _ask(self, now: float) -> None:
        self._ask_at = now + RETRY
        for number, telling in self._tellings.items():
            if not telling.is_done:
                self._send(number, telling)

    def _send(self, number: int, telling: _Telling) -> None:
        get = Get(number, self._ring.me, None, "many", self._key, after=telling.after)
        self._ring.out.to_closest(telling.point, get)

    def _take(self, record: Record) -> None:
        owner = record.owner
        known = self._records.get(owner)
        if known is not None and known.sequence >= record.sequence:
            if known == record:
                self._seen.add(owner)
            return
        fits = record.kind == "many" and record.key == self._key
        if fits and is_sealed(record, self._namespace_key) and is_genuine(record, self._verify):
            self._records[owner] = record
            self._seen.add(owner)

    def _end(self, *, certain: bool) -> None:
        self._tellings.clear()
        self._ends = self._ask_at = inf
        if certain:
            self._records = {owner: record for owner, record in self._records.items() if owner in self._seen}
        listed = [
            MemberOf(owner, profile.name, profile.addresses)
            for owner, record in sorted(self._records.items())
            if not record.withdrawn
            for profile in (opened(record, self._namespace_key),)
        ]
        self._ring.out.emit(Listed(tuple(listed), certain))
