"""The records that this node holds for others, with leases, limits and put-if-absent.

A withdrawn record stands in nobody's way but that of its own owner's older ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Final, Literal

from ipop_modules.topology.protocol.messages import MAX_COPIES, Copy
from ipop_modules.topology.protocol.records import Kind, Record

MAX_RECORDS: Final = 20_000
MAX_FOR_OWNER: Final = 32
MAX_FOR_LINK: Final = 4_096
"""Ids are free to make, so what one direct neighbour hands over is limited as well."""
MAX_IN_SET: Final = 256


@dataclass(frozen=True, slots=True)
class Outcome:
    state: Literal["stored", "taken", "stale", "refused"]
    record: Record | None = None
    """The record that stands in the way."""
    displaced: Record | None = None
    """The other owner's record that gave way."""


@dataclass(frozen=True, slots=True)
class _Entry:
    record: Record
    owner: bytes
    expires: float
    link: bytes


class Store:
    def __init__(self) -> None:
        self._entries: dict[tuple[Kind, bytes], dict[bytes, _Entry]] = {}
        self._by_owner: Counter[bytes] = Counter()
        self._by_link: Counter[bytes] = Counter()
        self._size = 0
        self._first_end = inf
        """No record ends before."""

    def __len__(self) -> int:
        return self._size

    def holds(self, record: Record) -> bool:
        """Whether exactly this record is here, so that its signature need not be checked again."""
        entry = self._entries.get((record.kind, record.key), {}).get(record.owner)
        return entry is not None and entry.record == record

    def put(self, record: Record, remaining: float, link: bytes, now: float, *, merge: bool = False) -> Outcome:
        """Store a genuine record that came over `link`, unless somebody else's is there.

        `merge`: it comes from another storer. If both hold a record of different owners, the older claim wins.
        """
        self._expire_key(record.kind, record.key, now)
        here = self._entries.get((record.kind, record.key), {})
        owner = record.owner
        own = here.get(owner)
        if own is not None and own.record.sequence > record.sequence:
            return Outcome("stale", own.record)
        rival = self._rival(here, record, owner)
        if rival is not None and not (merge and _claim(record, owner) < _claim(rival.record, rival.owner)):
            return Outcome("taken", rival.record)
        gives_way = rival or (self._oldest(here) if own is None and len(here) >= MAX_IN_SET else None)
        if own is None and (self._by_owner[owner] >= MAX_FOR_OWNER or (gives_way is None and self._is_full(link))):
            return Outcome("refused")
        expires = now + min(remaining, record.lease)
        if own is not None and own.record == record:
            expires = max(expires, own.expires)
        for entry in (own, gives_way):
            if entry is not None:
                self._remove(entry)
        self._add(_Entry(record, owner, expires, link))
        return Outcome("stored", displaced=rival.record if rival else None)

    def get(self, kind: Kind, key: bytes, now: float, after: bytes = b"") -> list[Copy]:
        """The records under a key that have not ended, withdrawn ones included; at most MAX_COPIES.

        In the order of their owners' ids, those behind `after`: so a large set is read page by page. The one record of
        a key that stands comes first.
        """
        self._expire_key(kind, key, now)
        entries = [entry for entry in self._entries.get((kind, key), {}).values() if entry.owner > after]
        entries.sort(key=lambda entry: (kind == "one" and entry.record.withdrawn, entry.owner))
        return [_copy(entry, now) for entry in entries[:MAX_COPIES]]

    def copy(self, record: Record, now: float) -> Copy | None:
        """This record, if it is here and has not ended."""
        entry = self._entries.get((record.kind, record.key), {}).get(record.owner)
        return _copy(entry, now) if entry is not None and entry.record == record and entry.expires > now else None

    def count(self, kind: Kind, key: bytes, without: bytes) -> int:
        """How many owners have records under a key, `without` not counted."""
        entries = self._entries.get((kind, key), {})
        return sum(not entry.record.withdrawn and entry.owner != without for entry in entries.values())

    def copies(self, now: float) -> Iterator[Copy]:
        """All records that have not ended."""
        for entries in self._entries.values():
            yield from (_copy(entry, now) for entry in entries.values() if entry.expires > now)

    def expire(self, now: float) -> None:
        if now < self._first_end:
            return
        for kind, key in list(self._entries):
            self._expire_key(kind, key, now)
        ends = [entry.expires for entries in self._entries.values() for entry in entries.values()]
        self._first_end = min(ends, default=inf)

    def _rival(self, here: dict[bytes, _Entry], record: Record, owner: bytes) -> _Entry | None:
        """Who holds what this record claims: at most one owner does."""
        if record.kind != "one" or record.withdrawn:
            return None
        return next((e for e in here.values() if e.owner != owner and not e.record.withdrawn), None)

    def _expire_key(self, kind: Kind, key: bytes, now: float) -> None:
        if now < self._first_end:
            return
        for entry in [e for e in self._entries.get((kind, key), {}).values() if e.expires <= now]:
            self._remove(entry)

    def _is_full(self, link: bytes) -> bool:
        return len(self) >= MAX_RECORDS or self._by_link[link] >= MAX_FOR_LINK

    def _oldest(self, entries: dict[bytes, _Entry]) -> _Entry:
        return min(entries.values(), key=lambda entry: entry.expires)

    def _add(self, entry: _Entry) -> None:
        self._entries.setdefault((entry.record.kind, entry.record.key), {})[entry.owner] = entry
        self._by_owner[entry.owner] += 1
        self._by_link[entry.link] += 1
        self._size += 1
        self._first_end = min(self._first_end, entry.expires)

    def _remove(self, entry: _Entry) -> None:
        at = (entry.record.kind, entry.record.key)
        del self._entries[at][entry.owner]
        if not self._entries[at]:
            del self._entries[at]
        self._size -= 1
        for counter, name in ((self._by_owner, entry.owner), (self._by_link, entry.link)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]


def _claim(record: Record, owner: bytes) -> tuple[int, bytes]:
    return record.since, owner


def _copy(entry: _Entry, now: float) -> Copy:
    return Copy(entry.record, max(0, int(entry.expires - now)))
