"""Who the members of the namespace are, as the directory knows: asked for by whoever needs them all.

Like a lookup (`lookup.py`) the question goes to three members of the ring, and every record that bears its owner's
signature and the namespace's seal counts, of one owner the newest: a storer can leave members out, but not the other
two's, and can invent none. Whoever kept the records of members that left could list these for ever, so what seems to be
over counts only where two of a part's storers have it, or all that have told everything: its owner, or this node, may
have a wrong clock. A part of the set (`parts.py`) comes in pages, and those behind a full one are asked for as
soon as one storer says that it is full. The list is certain when two storers of every part have told everything: one
that says at once that there is nobody must not end it while the others are still telling. It ends within LONGEST.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import inf
from typing import Final

from ipop_modules.topology.protocol import ids, parts
from ipop_modules.topology.protocol.chance import Random, request_number
from ipop_modules.topology.protocol.effects import Listed, MemberOf
from ipop_modules.topology.protocol.messages import MAX_COPIES, Get, GetAnswer
from ipop_modules.topology.protocol.profile import opened
from ipop_modules.topology.protocol.records import Record, Verify, is_genuine, is_sealed, members_key
from ipop_modules.topology.protocol.ring import Ring
from ipop_modules.topology.protocol.store import MAX_IN_SET

LIMIT: Final = 2.4
"""Seconds without any answer."""
LONGEST: Final = 4.8
"""Seconds for the whole."""
RETRY: Final = 0.5
WAIT: Final = 0.5
"""Seconds from the last answer for which others are waited for, when enough storers of every part have told all."""
ENOUGH: Final = 2
"""So many of a part's storers have told all there is, and are believed of a record that seems to be over."""
MAX_PARTS: Final = 273
"""The first, the sixteen behind it, and all that are behind these: a liar can't make this node ask for ever."""
MAX_RECORDS: Final = MAX_PARTS * MAX_IN_SET
"""Kept from one question to the next; of more, those that were seen longest ago go."""
MAX_PAGES: Final = -(-MAX_IN_SET // MAX_COPIES) + 2
"""The first is a short one (`readers.py`), and the last may be empty."""


@dataclass(slots=True)
class _Telling:
    """One storer's answer as it comes."""

    part: str
    point: bytes
    after: bytes = b""
    token: bytes = b""
    """With which the storer tells more at once."""
    pages: int = 0
    is_done: bool = False
    owners: set[bytes] = field(default_factory=set)
    """Those that it has named."""


class Members:
    def __init__(self, ring: Ring, namespace_key: bytes, random: Random, verify: Verify, *, epoch: float) -> None:
        """`epoch`: Unix time when the machine's clock showed 0, in seconds."""
        self._epoch = epoch
        self._ring = ring
        self._namespace_key = namespace_key
        self._random = random
        self._verify = verify
        self._tellings: dict[int, _Telling] = {}
        """By request number; empty while nobody asks."""
        self._parts: dict[str, bytes] = {}
        """The keys of the parts that are asked for."""
        self._told: Counter[str] = Counter()
        """How many storers have told each part wholly."""
        self._records: dict[tuple[str, bytes], Record] = {}
        """By part and owner; kept from one question to the next, so that a signature is checked once."""
        self._seen: dict[tuple[str, bytes], float] = {}
        """When each of them was told of last, in that order."""
        self._began = 0.0
        self._ends = inf
        """Finite while somebody asks."""
        self._ask_at = inf

    def ask(self, now: float) -> None:
        """Ends in one Listed; asked again meanwhile, it is the same one."""
        if self._ends != inf:
            return
        self._began, self._ends = now, now + LIMIT
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
            self._take(copy.record, telling.part, now)
            telling.owners.add(copy.record.owner)
        if answer.behind or parts.is_full(answer.total):
            self._open(parts.behind(telling.part), now)
        telling.pages += 1
        last = max((copy.record.owner for copy in answer.copies), default=b"")
        is_all = len(answer.copies) < MAX_COPIES and not answer.token
        telling.is_done = is_all or telling.pages >= MAX_PAGES or last <= telling.after
        telling.after, telling.token = last, answer.token or telling.token
        number = request_number(self._random)
        self._tellings[number] = telling
        if not telling.is_done:
            self._send(number, telling)
        else:
            self._told[telling.part] += 1
        if all(other.is_done for other in self._tellings.values()):
            self._end(now, certain=True)
        else:
            self._ends = min(self._began + LONGEST, now + (WAIT if self._is_told() else LIMIT))
        return True

    def wake(self, now: float) -> None:
        if self._ends <= now:
            self._end(now, certain=bool(self._parts) and self._is_told())
        elif self._ask_at <= now:
            self._ask(now)

    def next_wake(self) -> float:
        return min(self._ends, self._ask_at)

    def _is_told(self) -> bool:
        return all(self._told[part] >= ENOUGH for part in self._parts)

    def _begin(self, now: float) -> None:
        self._ask_at = now + RETRY
        self._open([parts.FIRST], now)

    def _open(self, opened: list[str], now: float) -> None:
        """Ask for these parts, those of them that are new."""
        gap = self._ring.beside
        for part in opened:
            if part in self._parts or len(self._parts) >= MAX_PARTS:
                continue
            key = self._parts[part] = members_key(self._namespace_key, part)
            for beside in (0, gap, -gap):
                number = request_number(self._random)
                telling = self._tellings[number] = _Telling(part, ids.from_number(ids.number(key) + beside))
                self._send(number, telling)

    def _ask(self, now: float) -> None:
        """Again, what has not been answered."""
        self._ask_at = now + RETRY
        for number, telling in self._tellings.items():
            if not telling.is_done:
                self._send(number, telling)

    def _send(self, number: int, telling: _Telling) -> None:
        key = self._parts[telling.part]
        get = Get(number, self._ring.me, None, "many", key, after=telling.after, token=telling.token)
        self._ring.out.to_closest(telling.point, get)

    def _take(self, record: Record, part: str, now: float) -> None:
        owner = record.owner
        at = part, owner
        known = self._records.get(at)
        if known is not None and known.sequence >= record.sequence:
            if known == record:
                self._note(at, record, now)
            return
        fits = record.kind == "many" and record.key == self._parts[part] and parts.belongs(owner, part)
        if fits and is_sealed(record, self._namespace_key) and is_genuine(record, self._verify):
            self._note(at, record, now)

    def _note(self, at: tuple[str, bytes], record: Record, now: float) -> None:
        self._seen.pop(at, None)
        self._records[at], self._seen[at] = record, now
        if len(self._seen) > MAX_RECORDS:
            self._forget(next(iter(self._seen)))

    def _forget(self, at: tuple[str, bytes]) -> None:
        del self._records[at], self._seen[at]

    def _end(self, now: float, *, certain: bool) -> None:
        """A certain list is of what this question brought, any other of all that may live yet."""
        doubtful = self._doubtful(now)
        self._tellings.clear()
        self._parts.clear()
        self._told.clear()
        self._ends = self._ask_at = inf
        ends = {at: self._began if certain else now - record.lease for at, record in self._records.items()}
        for at in [at for at, seen in self._seen.items() if seen < ends[at]]:
            self._forget(at)
        # Who goes from one part to another is in both for a moment, or withdrew from one of them.
        latest: dict[bytes, Record] = {}
        for at, record in sorted(self._records.items(), key=lambda item: item[1].sequence):
            if not record.withdrawn and at not in doubtful:
                latest[record.owner] = record
        listed = [
            MemberOf(owner, profile.name, profile.addresses)
            for owner, record in sorted(latest.items())
            for profile in (opened(record, self._namespace_key),)
        ]
        self._ring.out.emit(Listed(tuple(listed), certain))

    def _doubtful(self, now: float) -> set[tuple[str, bytes]]:
        """Whose records seem to be over, and are told of by too few storers."""
        tellings: dict[str, list[_Telling]] = {}
        for telling in self._tellings.values():
            tellings.setdefault(telling.part, []).append(telling)
        doubtful = set()
        for (part, owner), record in self._records.items():
            if record.sequence / 1000 + record.lease > self._epoch + now:
                continue
            asked = tellings.get(part, [])
            count = sum(owner in telling.owners for telling in asked)
            if count < min(ENOUGH, sum(telling.is_done for telling in asked)):
                doubtful.add((part, owner))
        return doubtful
