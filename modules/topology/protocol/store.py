"""The records that this node holds for others, with leases, limits and put-if-absent.

Of several owners that claim one key the first stands, and the others wait behind it, a few at most. A storer can check
neither seals nor certificates, so whoever stands may have no right to the key: who reads passes over such a record and
finds the next one. Whoever stands keeps the key until its lease ends: of too many claims the one that came last makes
room, of those that wait.

Where storers disagree about who came first, it is whom any of them has seen claim the key before the other. Each notes
when that began, says so with every record that it hands on, and believes of a neighbour what is earlier. The owners'
own word on when they began (`since`) decides only between those that came at about the same time: their clocks may be
wrong, and a restart loses it.

A withdrawn record stands in nobody's way but that of its own owner's older ones, and is the first to make room: for
another owner at its key, and for a further record of its own owner's.

A record lives here for one lease from when it first came, however often it is handed over, and is remembered when it
has ended: else whoever kept a copy could hold an address for an owner that is gone.
"""

from __future__ import annotations

from itertools import count
from math import inf
from typing import Final, Literal

import msgspec

from ipop_modules.topology.protocol.messages import MAX_COPIES, MAX_HELD, Copy
from ipop_modules.topology.protocol.records import Kind, Record

MAX_RECORDS: Final = 20_000
MAX_FOR_OWNER: Final = 32
MAX_FOR_LINK: Final = 4_096
"""Ids are free to make, so what one direct neighbour hands over is limited as well."""
MAX_IN_SET: Final = 64
MAX_CLAIMS: Final = 4
"""Owners that one key of kind `one` is kept for."""
AT_ONCE: Final = 5.0
"""Seconds within which two claims came at about the same time: by then every storer has heard of either."""
STAYS: Final = 10.0
"""Seconds for which the claim that came last makes no room for another: storers hand on what is news to them, and more
claims than one key may have would put each other out, from storer to storer, at the speed of the network."""
MAX_ENDED: Final = 4_096
"""Records that are remembered when they have ended; the one that ended first makes room."""
BEHIND_FOR: Final = 3600.0
"""Seconds for which a set that has turned an owner away may have more in its parts (`parts.py`)."""
MAX_BEHIND: Final = 1_024


class Outcome(msgspec.Struct, frozen=True):
    state: Literal["stored", "taken", "stale", "refused", "full"]
    """`taken`: kept, but behind another owner's record. `full`: no more owners in this set."""
    record: Record | None = None
    """The record that stands in the way."""
    displaced: Record | None = None
    """The other owner's record that stood before, and stands behind this one now."""


class _Entry(msgspec.Struct, frozen=True):
    record: Record
    owner: bytes
    expires: float
    link: bytes
    came: int
    """In which order owners came to the key."""
    arrived: float
    """When that was."""
    last_end: float
    """One lease after this record first came here: whoever hands it over again, it does not live longer."""
    began: float
    """Since when the owner claims the key without a break, as this storer or another has seen it."""

    @property
    def claims(self) -> bool:
        return not self.record.withdrawn


class Store:
    def __init__(self) -> None:
        self._entries: dict[tuple[Kind, bytes], dict[bytes, _Entry]] = {}
        """By key and owner; of the claims to one key, the one that stands is the first."""
        self._ended: dict[tuple[Kind, bytes, bytes], tuple[Record, float]] = {}
        """By kind, key and owner, in the order of their end, with the last end that each may have."""
        self._behind: dict[bytes, float] = {}
        """By key of a set that has turned an owner away, until when there may be more in its parts."""
        self._came = count()
        self._by_owner: dict[bytes, dict[tuple[Kind, bytes], None]] = {}
        """By owner, the kind and key of its records, the newest last; one that was withdrawn is new then."""
        self._by_link: dict[bytes, dict[tuple[Kind, bytes, bytes], None]] = {}
        """By link, the kind, key and owner of its records, the newest last."""
        self._size = 0
        self._first_end = inf
        """No record ends before."""

    def __len__(self) -> int:
        return self._size

    def holds(self, record: Record) -> bool:
        """Whether exactly this record is here, so that its signature need not be checked again."""
        entry = self._entries.get((record.kind, record.key), {}).get(record.owner)
        return entry is not None and entry.record == record

    def put(
        self,
        record: Record,
        remaining: float,
        link: bytes,
        now: float,
        *,
        held: int = 0,
        merge: bool = False,
        behind: bytes | None = None,
    ) -> Outcome:
        """Store a genuine record that came over `link`, behind those of other owners that claim its key already.

        `merge`: it comes from another storer, which has seen its owner claim the key for `held` milliseconds. Of two
        owners the one with the older claim stands first; but this one stays behind the owner that the other storer
        named before it.
        """
        owner = record.owner
        self._expire_key(record.kind, record.key, now)
        here = self._entries.get((record.kind, record.key), {})
        own = here.get(owner)
        if own is not None and own.record.sequence > record.sequence:
            return Outcome("stale", own.record)
        last_end = self._last_end(record, own, now)
        if last_end <= now:
            return Outcome("stale", self._ended[record.kind, record.key, owner][0])
        gives_way = None
        if own is None and len(here) >= (MAX_IN_SET if record.kind == "many" else MAX_CLAIMS):
            gives_way = self._who_gives_way(here, record, now)
            if gives_way is None:
                return self._find_no_room(record, last_end, now)
        if own is None and not self._make_room(owner, link, gives_way):
            return Outcome("refused")
        expires = min(now + remaining, last_end)
        if own is not None:
            expires = max(expires, min(own.expires, last_end))
        stood = self._standing(record.kind, here)
        began = min(now - held / 1000, own.began if own is not None and own.claims else now)
        came, arrived = (next(self._came), now) if own is None else (own.came, own.arrived)
        entry = _Entry(record, owner, expires, link, came, arrived, last_end, began)
        if own is not None and own.claims and entry.claims:
            self._replace(own, entry)
        else:
            if own is not None:
                self._remove(own)
            self._add(entry)
        if merge and record.kind == "one" and entry.claims:
            self._move_up(entry, behind)
        return self._outcome(entry, stood)

    def get(self, kind: Kind, key: bytes, now: float, after: bytes = b"") -> list[Copy]:
        """The records under a key that have not ended, withdrawn ones included; at most MAX_COPIES.

        A set in the order of the owners' ids, those behind `after`: so a large one is read page by page. Of the claims
        to one key the one that stands comes first, and those that wait follow in their order.
        """
        self._expire_key(kind, key, now)
        entries = [entry for entry in self._entries.get((kind, key), {}).values() if entry.owner > after]
        if kind == "one":
            entries.sort(key=lambda entry: entry.record.withdrawn)
        else:
            entries.sort(key=lambda entry: entry.owner)
        return [_copy(entry, now) for entry in entries[:MAX_COPIES]]

    def to_hand_on(self, record: Record, now: float) -> list[Copy]:
        """This record, if it is here and has not ended; with the others that claim its key, in their order."""
        here = self._entries.get((record.kind, record.key), {})
        entry = here.get(record.owner)
        if entry is None or entry.record != record or entry.expires <= now:
            return []
        together = here.values() if record.kind == "one" else (entry,)
        return [_copy_to_hand_on(entry, now) for entry in together if entry.expires > now]

    def count(self, kind: Kind, key: bytes, without: bytes, now: float) -> int:
        """How many owners have records under a key, `without` not counted."""
        self._expire_key(kind, key, now)
        entries = self._entries.get((kind, key), {})
        return sum(not entry.record.withdrawn and entry.owner != without for entry in entries.values())

    def has_turned_away(self, key: bytes, now: float) -> bool:
        """Whether a set was full lately, so that there may be more in its parts, whatever it has now."""
        return self._behind.get(key, now) > now

    def places(self) -> list[tuple[Kind, bytes]]:
        """The kinds and keys under which something lies."""
        return list(self._entries)

    def all_to_hand_on(self, kind: Kind, key: bytes, now: float) -> list[Copy]:
        """All records under a key that have not ended, in their order."""
        return [_copy_to_hand_on(entry, now) for entry in self._entries[kind, key].values() if entry.expires > now]

    def expire(self, now: float) -> None:
        if now < self._first_end:
            return
        for kind, key in list(self._entries):
            self._expire_key(kind, key, now)
        ends = [entry.expires for entries in self._entries.values() for entry in entries.values()]
        self._first_end = min(ends, default=inf)

    def _last_end(self, record: Record, own: _Entry | None, now: float) -> float:
        """When a record must have ended; not after `now` where it has, or a newer one of its owner's."""
        if own is not None:
            return own.last_end if own.record == record else now + record.lease
        before, last_end = self._ended.get((record.kind, record.key, record.owner), (None, now))
        if before == record:
            return last_end
        return now if before is not None and before.sequence > record.sequence else now + record.lease

    def _outcome(self, entry: _Entry, stood: _Entry | None) -> Outcome:
        record = entry.record
        stands = self._standing(record.kind, self._entries[record.kind, record.key])
        if stands is None or not entry.claims:
            return Outcome("stored")
        if stands is not entry:
            return Outcome("taken", stands.record)
        return Outcome("stored", displaced=stood.record if stood is not None and stood.owner != entry.owner else None)

    def _standing(self, kind: Kind, here: dict[bytes, _Entry]) -> _Entry | None:
        """Who holds the key, of a kind that one owner holds."""
        if kind == "one":
            for entry in here.values():
                if entry.claims:
                    return entry
        return None

    def _who_gives_way(self, here: dict[bytes, _Entry], record: Record, now: float) -> _Entry | None:
        """Whose place another owner's record takes where there is no more room: one that was withdrawn, if any.

        Else of too many claims the one that came last, once it has been here for a while. Never the one that stands,
        nor any for a mere withdrawal.
        """
        withdrawn = next((entry for entry in here.values() if not entry.claims), None)
        if withdrawn is not None or record.kind == "many" or record.withdrawn:
            return withdrawn
        stands = self._standing(record.kind, here)
        latest = max((entry for entry in here.values() if entry is not stands), key=lambda entry: entry.came)
        return latest if latest.arrived + STAYS <= now else None

    def _move_up(self, entry: _Entry, behind: bytes | None) -> None:
        """Put a claim before the first one that is younger, but not before the owner `behind`."""
        here = self._entries[entry.record.kind, entry.record.key]
        if len(here) == 1:
            return
        order = list(here.values())
        at = order.index(entry)
        first = next((place + 1 for place, other in enumerate(order) if other.owner == behind), 0)
        place = next((place for place in range(first, at) if _is_older(entry, order[place])), at)
        if place != at:
            order.insert(place, order.pop(at))
            here.clear()
            here.update({other.owner: other for other in order})

    def _expire_key(self, kind: Kind, key: bytes, now: float) -> None:
        if now < self._first_end:
            return
        for entry in [e for e in self._entries.get((kind, key), {}).values() if e.expires <= now]:
            self._remove(entry)
            self._remember(entry.record, entry.last_end)

    def _remember(self, record: Record, last_end: float) -> None:
        """Nothing older of this owner's may come back."""
        at = record.kind, record.key, record.owner
        self._ended.pop(at, None)
        self._ended[at] = record, last_end
        if len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]

    def _find_no_room(self, record: Record, last_end: float, now: float) -> Outcome:
        """A withdrawal needs none: it is enough to remember it."""
        if record.withdrawn:
            self._remember(record, last_end)
            return Outcome("stored")
        self._turn_away(record.key, now)
        return Outcome("full")

    def _turn_away(self, key: bytes, now: float) -> None:
        self._behind.pop(key, None)
        self._behind[key] = now + BEHIND_FOR
        if len(self._behind) > MAX_BEHIND:
            del self._behind[next(iter(self._behind))]

    def _make_room(self, owner: bytes, link: bytes, gives_way: _Entry | None) -> bool:
        """For one more record of an owner, in the place of `gives_way` if that is not None; whether there is any."""
        is_at_quota = len(self._by_owner.get(owner, ())) >= MAX_FOR_OWNER
        spare = self._oldest_withdrawn(owner) if is_at_quota else None
        if is_at_quota and spare is None:
            return False
        if gives_way is None and (spare is None or spare.link != link) and not self._has_room(link):
            return False
        for entry in (gives_way, spare):
            if entry is not None:
                self._remove(entry)
                if entry.record.withdrawn:
                    self._remember(entry.record, entry.last_end)
        return True

    def _oldest_withdrawn(self, owner: bytes) -> _Entry | None:
        entries = (self._entries[at][owner] for at in self._by_owner.get(owner, ()))
        return next((entry for entry in entries if entry.record.withdrawn), None)

    @property
    def is_half_full(self) -> bool:
        return 2 * len(self) > MAX_RECORDS

    def _has_room(self, link: bytes) -> bool:
        """Where there is none for anybody, the newest of the link that has most makes some for one with fewer."""
        own = len(self._by_link.get(link, ()))
        if own >= MAX_FOR_LINK:
            return False
        if len(self) >= MAX_RECORDS:
            most = max(self._by_link.values(), key=len)
            if len(most) <= own:
                return False
            kind, key, owner = next(reversed(most))
            self._remove(self._entries[kind, key][owner])
        return True

    def _add(self, entry: _Entry) -> None:
        self._entries.setdefault((entry.record.kind, entry.record.key), {})[entry.owner] = entry
        self._by_owner.setdefault(entry.owner, {})[entry.record.kind, entry.record.key] = None
        self._note_link(entry)
        self._size += 1
        self._first_end = min(self._first_end, entry.expires)

    def _replace(self, old: _Entry, new: _Entry) -> None:
        """A newer record of the same owner, in the same place."""
        self._entries[new.record.kind, new.record.key][new.owner] = new
        self._forget_link(old)
        self._note_link(new)
        self._first_end = min(self._first_end, new.expires)

    def _remove(self, entry: _Entry) -> None:
        at = (entry.record.kind, entry.record.key)
        del self._entries[at][entry.owner]
        if not self._entries[at]:
            del self._entries[at]
        self._size -= 1
        del self._by_owner[entry.owner][at]
        if not self._by_owner[entry.owner]:
            del self._by_owner[entry.owner]
        self._forget_link(entry)

    def _note_link(self, entry: _Entry) -> None:
        self._by_link.setdefault(entry.link, {})[entry.record.kind, entry.record.key, entry.owner] = None

    def _forget_link(self, entry: _Entry) -> None:
        records = self._by_link[entry.link]
        del records[entry.record.kind, entry.record.key, entry.owner]
        if not records:
            del self._by_link[entry.link]


def _is_older(entry: _Entry, other: _Entry) -> bool:
    """Whether of two owners' claims the first began before the second."""
    if abs(entry.began - other.began) > AT_ONCE:
        return entry.began < other.began
    return (entry.record.since, entry.owner) < (other.record.since, other.owner)


def _copy_to_hand_on(entry: _Entry, now: float) -> Copy:
    held = min(MAX_HELD, int(1000 * (now - entry.began))) if entry.record.kind == "one" and entry.claims else 0
    return _copy(entry, now, held)


def _copy(entry: _Entry, now: float, held: int = 0) -> Copy:
    return Copy(entry.record, max(0, int(entry.expires - now)), held)
