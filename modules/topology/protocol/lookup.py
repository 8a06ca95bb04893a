"""The reader's side of the directory: who owns an address or a host name.

A lookup asks three members at once: the one nearest to the key, and those nearest to the points 1.5 average gaps beside
it, which hold replicas. Each question leaves by another neighbour (`ways.py`), so who lies, as a storer or on the way,
speaks for one alone. That nobody owns a subject is asked once more, of others of those that hold replicas and by fresh
ways, before it is certain: as far as it can tell, those nearest to the key and the last ones on each side. One that
says that it would not hold the record, being too far from the key or new in its place, is passed by for one nearer, or
asked later. Records bear their owner's signature and the seal of the namespace, which no stranger can make. In an open
namespace anyone can, so there what two of the three say counts; where there is an authority, a record counts that bears
its certificate for the address; in a secret namespace the first record does. A record that ended an hour ago counts
only where two storers have it, or all that answer. A storer that missed the record gets it. A record that its owner
withdrew counts for nobody, whoever still has an older one. Where none of those in a short answer counts (`readers.py`),
the storer is asked for the rest.

Messages get lost, so it asks again after a while, each time by way of other neighbours, there and back: a node that
has just died, or that swallows messages, is passed by. It ends within LIMIT.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf
from typing import Final

from ipop_core.round_trip import RoundTrip
from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.cache import Cache
from ipop_modules.topology.protocol.chance import Random, request_number
from ipop_modules.topology.protocol.effects import Resolved
from ipop_modules.topology.protocol.messages import Copy, Get, GetAnswer, Repair
from ipop_modules.topology.protocol.profile import opened
from ipop_modules.topology.protocol.proof import Proof
from ipop_modules.topology.protocol.records import Record, subject_key
from ipop_modules.topology.protocol.ring import Ring
from ipop_modules.topology.protocol.ways import Ways

LIMIT: Final = 2.4
YOUNG: Final = 5.0
"""Seconds after joining in which "absent" may mean that the owner is just registering: ask again."""
YOUNG_RETRY: Final = 0.15
WAIT: Final = 0.5
"""Seconds after an answer that counts for which the others are waited for."""
FIRST: Final = (0, 1, -1)
"""Where the questions go: so many times the distance of `Ring.beside` from the key."""
SECOND: Final = (Fraction(2, 3), Fraction(-2, 3), Fraction(6), Fraction(-6))
"""The same when it asks once more: the nearest on each side, and, from beyond them inward, the last with replicas."""
ENOUGH: Final = 2
"""So many storers that name the same owner decide."""
OTHER_CLOCK: Final = 3600.0
"""Seconds by which others' clocks may go wrong."""
TURNS: Final = (*(Fraction(2, 3) ** turn for turn in range(5)), Fraction(1, 9), Fraction(1, 18))
"""What is left of the distance of a question that is turned to the key; that is how often it is turned at most."""
MORE: Final = 2
"""Storers that answer by halves are asked for the rest so often."""
MAX_LOOKUPS: Final = 1024
TRIES: Final = 15
"""The low bits of a request's number tell which try it is: an answer to an earlier one shows how long answers take."""


@dataclass(slots=True)
class _Lookup:
    subject: bytes | str
    key: bytes
    beside: dict[int, int]
    """By request number, how far from the key the question goes at first."""
    started: float
    ways: Ways
    is_asked: bool = False
    """Somebody waits for a Resolved."""
    is_answered: bool = False
    """Anybody has said anything."""
    is_check: bool = False
    """This node wants to know whether it is named."""
    try_at: float = inf
    """When to ask again those that have not answered; `inf` before this node is in the ring."""
    tries: int = 0
    asked: dict[int, float] = field(default_factory=dict)
    """By try, when it was made: the last ones."""
    at: dict[int, bytes | None] = field(default_factory=dict)
    """By request number, the member that is asked instead where that at the point is asked already."""
    nearer: Counter[int] = field(default_factory=Counter)
    """By request number, how often it was turned nearer to the key."""
    is_second: bool = False
    """It asks once more, since all that answered said that there is nobody."""
    via: dict[int, bytes | None] = field(default_factory=dict)
    """By request number, the way back that was named last."""
    asked_for_more: Counter[int] = field(default_factory=Counter)
    """By request number."""
    votes: dict[int, bytes | None] = field(default_factory=dict)
    """By request number, the owner that was named; None for nobody."""
    copies: dict[bytes, Copy] = field(default_factory=dict)
    """By owner."""
    withdrawn: dict[bytes, Copy] = field(default_factory=dict)
    """By owner, its record that makes those before it void."""
    decide_at: float = inf

    @property
    def enough(self) -> int:
        """So many say together that there is nobody: most of those that are asked.

        One that has nothing may just have come to its place in the ring, but a small ring has no more than one or two.
        """
        return len(self.beside) // 2 + 1

    def sent(self, number: int) -> int:
        """A request's number with the mark of this try."""
        return number | self.tries & TRIES

    def point(self, number: int) -> bytes:
        """Where a question goes: at first every other time farther from the key, lest a dead node is nearest to all."""
        storer = self.at.get(number)
        is_first = self.tries % 2 == 1
        if storer is not None and is_first and not self.nearer[number]:
            return storer
        beside = self.beside[number] * (1 if is_first or self.is_second else 2)
        return ids.from_number(ids.number(self.key) + int(beside * TURNS[self.nearer[number]]))


class Lookups:
    def __init__(
        self,
        ring: Ring,
        namespace_key: bytes,
        random: Random,
        proof: Proof,
        *,
        round_trip: RoundTrip,
        majority: bool,
        epoch: float,
    ) -> None:
        """`epoch`: Unix time when the machine's clock showed 0, in seconds."""
        self._epoch = epoch
        self._ring = ring
        self._namespace_key = namespace_key
        self._random = random
        self._proof = proof
        self._majority = majority
        self._cache = Cache()
        self._round_trip = round_trip
        self._by_key: dict[bytes, _Lookup] = {}
        self._by_number: dict[int, _Lookup] = {}
        self.checked: list[Resolved] = []
        """What came of checks, for the owner's side."""

    def resolve(self, subject: bytes | str, now: float, *, fresh: bool = False) -> None:
        """Ends in one Resolved for the subject, at once or within LIMIT. `fresh` passes over the cache."""
        key = subject_key(self._namespace_key, subject)
        cached = None if fresh else self._cache.get(key, now)
        if cached is not None:
            lease = cached.lease_ends - now if cached.lease_ends is not None else None
            told = Resolved(subject, cached.node, True, "cache", lease, 0.0, cached.addresses, cached.certificate)
            self._ring.out.emit(told)
            return
        lookup = self._lookup(subject, key, now)
        if lookup is None:
            self._ring.out.emit(Resolved(subject, None, False, "none", None, 0.0))
        else:
            lookup.is_asked = True

    def check(self, subject: bytes | str, now: float) -> None:
        """See, past the cache, whom others would find: ends in one more of `checked`, at once or within LIMIT."""
        lookup = self._lookup(subject, subject_key(self._namespace_key, subject), now)
        if lookup is None:
            self.checked.append(Resolved(subject, None, False, "none", None, 0.0))
        else:
            lookup.is_check = True

    def _lookup(self, subject: bytes | str, key: bytes, now: float) -> _Lookup | None:
        """The one that is under way, or a new one; None while there are too many."""
        lookup = self._by_key.get(key)
        if lookup is None and len(self._by_key) < MAX_LOOKUPS:
            lookup = self._by_key[key] = _Lookup(subject, key, {}, now, Ways(self._ring))
            if self._ring.attached:
                self._begin(lookup, now)
        return lookup

    def on_joined(self, now: float) -> None:
        for lookup in self._by_key.values():
            if not lookup.beside:
                self._begin(lookup, now)

    def on_answer(self, answer: GetAnswer, now: float) -> bool:
        """False when the answer belongs to no lookup."""
        number = answer.number & ~TRIES
        lookup = self._by_number.get(number)
        if lookup is None:
            return False
        asked = lookup.asked.get(answer.number & TRIES)
        lookup.is_answered = True
        if (
            asked is not None
            and number not in lookup.votes
            and not lookup.nearer[number]
            and not lookup.asked_for_more[number]
        ):
            self._round_trip.took(now - asked)
        said = [copy for copy in answer.copies if self._proof.holds(copy.record, "one", lookup.key, lookup.subject)]
        for copy in said:
            if copy.record.withdrawn and self._stands(copy.record, lookup):
                lookup.withdrawn[copy.record.owner] = copy
        named = next((copy for copy in said if not copy.record.withdrawn), None)
        if named is None and lookup.votes.get(number) is not None:
            # Asked again, another storer may answer: that it has nothing undoes nothing.
            self._void(lookup)
            self._judge(lookup, now)
            return True
        if named is None and answer.token and lookup.asked_for_more[number] < MORE:
            lookup.asked_for_more[number] += 1
            self._send(lookup, number, lookup.via.get(number), answer.token)
            return True
        if named is None and not answer.keeps:
            self._turn_nearer(lookup, number, now)
            return True
        lookup.votes[number] = None if named is None else named.record.owner
        if named is not None:
            known = lookup.copies.get(named.record.owner)
            if known is None or known.record.sequence <= named.record.sequence:
                lookup.copies[named.record.owner] = named
        self._void(lookup)
        if lookup.decide_at == inf and (lookup.copies or len(lookup.votes) >= lookup.enough):
            lookup.decide_at = now + WAIT
        self._judge(lookup, now)
        return True

    def wake(self, now: float) -> None:
        for lookup in list(self._by_key.values()):
            if lookup.started + LIMIT <= now or lookup.decide_at <= now:
                self._decide(lookup, now)
            elif lookup.try_at <= now:
                self._ask(lookup, now)

    def next_wake(self) -> float:
        if not self._by_key:
            return inf
        return min(min(lookup.started + LIMIT, lookup.try_at, lookup.decide_at) for lookup in self._by_key.values())

    def _begin(self, lookup: _Lookup, now: float) -> None:
        storers: list[bytes] = []
        for part in SECOND if lookup.is_second else FIRST:
            beside = int(part * self._ring.beside)
            number = request_number(self._random) & ~TRIES
            storer = self._ring.nearest_known(ids.from_number(ids.number(lookup.key) + beside))
            if storer in storers and self._ring.is_small:
                storer = lookup.at[number] = self._ring.nearest_known(lookup.key, storers)
                if storer is None:
                    break
            if storer is not None:
                storers.append(storer)
            lookup.beside[number] = beside
            self._by_number[number] = lookup
        self._ask(lookup, now)

    def _ask(self, lookup: _Lookup, now: float) -> None:
        lookup.tries += 1
        lookup.asked[lookup.tries & TRIES] = now
        lookup.try_at = now + self._round_trip.timeout
        for number in lookup.beside:
            if number not in lookup.votes:
                self._send(lookup, number, self._way(lookup, number))

    def _turn_nearer(self, lookup: _Lookup, number: int, now: float) -> None:
        """The storer near this point says that it is none for the key, where nodes lie closer together than elsewhere.

        Or that it is new in its place: then it is asked again with the next try.
        """
        if lookup.beside[number] and lookup.nearer[number] + 1 < len(TURNS):
            lookup.nearer[number] += 1
            lookup.try_at = now + self._round_trip.timeout
            self._send(lookup, number, self._way(lookup, number))

    def _way(self, lookup: _Lookup, number: int) -> bytes | None:
        is_fresh = lookup.tries == 1 and not lookup.is_second
        return lookup.ways.first(number, lookup.point(number)) if is_fresh else lookup.ways.other(number)

    def _send(self, lookup: _Lookup, number: int, detour: bytes | None, token: bytes = b"") -> None:
        lookup.via[number] = detour
        get = Get(lookup.sent(number), self._ring.me, detour, "one", lookup.key, token=token)
        self._ring.out.to_closest(lookup.point(number), get, detour)

    def _stands(self, record: Record, lookup: _Lookup) -> bool:
        withdrawn = lookup.withdrawn.get(record.owner)
        return withdrawn is None or record.sequence > withdrawn.record.sequence

    def _void(self, lookup: _Lookup) -> None:
        """Pass over owners that claim it no more; storers that have not heard do now."""
        for number, owner in lookup.votes.items():
            if owner is not None and not self._stands(lookup.copies[owner].record, lookup):
                lookup.votes[number] = None
                self._ring.out.to_closest(lookup.point(number), Repair(lookup.withdrawn[owner]))

    def _judge(self, lookup: _Lookup, now: float) -> None:
        """Decide as soon as the answers that are still out can't change it."""
        named = Counter(owner for owner in lookup.votes.values() if owner is not None)
        all_answered = len(lookup.votes) == len(lookup.beside)
        if (named and named.most_common(1)[0][1] >= ENOUGH) or all_answered:
            self._decide(lookup, now)

    def _is_undecided(self, lookup: _Lookup, named: Counter[bytes], now: float) -> bool:
        """Whether one storer's word stands against another's, or alone, where no word is proven; there is time yet."""
        if not self._majority or not named or named.most_common(1)[0][1] >= ENOUGH or lookup.started + LIMIT <= now:
            return False
        is_contested = len(named) > 1 and len(named) < len(lookup.beside)
        return is_contested or len(lookup.votes) < len(lookup.beside)

    def _is_one_missing(self, lookup: _Lookup, now: float) -> bool:
        """Whether a storer that has not answered may yet confirm an owner whose record seems to be over."""
        is_named = any(owner is not None for owner in lookup.votes.values())
        return is_named and len(lookup.votes) < len(lookup.beside) and now < lookup.started + LIMIT

    def _named(self, lookup: _Lookup, now: float) -> Counter[bytes]:
        """How many named each owner. What one storer alone has of an owner that is long gone counts for nobody.

        Whoever kept a record could name its owner for ever otherwise. Where all have said the same it counts:
        its owner, or this node, may have no clock.
        """
        named = Counter(owner for owner in lookup.votes.values() if owner is not None)
        if len(lookup.votes) == len(lookup.beside) and len(set(lookup.votes.values())) == 1:
            return named
        alone = [owner for owner, count in named.items() if count < ENOUGH]
        for owner in alone:
            if self._is_over(lookup.copies[owner].record, now, OTHER_CLOCK):
                del named[owner]
        return named

    def _is_over(self, record: Record, now: float, margin: float = 0.0) -> bool:
        """Whether a record's lease has ended by this node's clock, and so many seconds have passed since."""
        return record.sequence / 1000 + record.lease + margin <= self._epoch + now

    def _decide(self, lookup: _Lookup, now: float) -> None:
        """The owner that most have named, of two the one whose record lives, then the older claim; else nobody."""
        named = self._named(lookup, now)
        if self._is_undecided(lookup, named, now) or (not named and self._is_one_missing(lookup, now)):
            lookup.votes = {number: owner for number, owner in lookup.votes.items() if owner is not None}
            lookup.decide_at = inf
            lookup.try_at = min(lookup.try_at, now + YOUNG_RETRY)
        elif named:
            copies = {owner: lookup.copies[owner].record for owner in named}
            owner = min(
                named,
                key=lambda owner: (-named[owner], self._is_over(copies[owner], now), copies[owner].since, owner),
            )
            self._found(lookup, lookup.copies[owner], now)
        elif lookup.votes and self._may_yet_come(now) and now < lookup.started + LIMIT:
            lookup.votes.clear()
            lookup.decide_at = inf
            lookup.try_at = now + YOUNG_RETRY
        elif len(lookup.votes) >= lookup.enough and not lookup.is_second and now < lookup.started + LIMIT:
            self._ask_once_more(lookup, now)
        else:
            self._end_without_owner(lookup, now)

    def _ask_once_more(self, lookup: _Lookup, now: float) -> None:
        """By fresh ways, with fresh numbers, so that what answered the first time can't answer this time unasked."""
        lookup.is_second = True
        lookup.decide_at = inf
        lookup.tries = 0
        lookup.asked.clear()
        for number in lookup.beside:
            del self._by_number[number]
        lookup.votes.clear()
        lookup.beside.clear()
        self._begin(lookup, now)

    def _found(self, lookup: _Lookup, copy: Copy, now: float) -> None:
        lease = float(min(copy.remaining, copy.record.lease))
        owner = copy.record.owner
        says = opened(copy.record, self._namespace_key)
        addresses = says.addresses if isinstance(lookup.subject, str) else ()
        self._cache.found(lookup.key, owner, lease, now, addresses, certificate=says.certificate)
        for number, named in lookup.votes.items():
            if named is None:
                self._ring.out.to_closest(lookup.point(number), Repair(copy))
        took = now - lookup.started
        self._end(lookup, Resolved(lookup.subject, owner, True, "directory", lease, took, addresses, says.certificate))

    def _may_yet_come(self, now: float) -> bool:
        """A node that has no neighbours only knows what it stored itself: more may come with the next link."""
        return not self._ring.near or self._ring.joined_at is None or now < self._ring.joined_at + YOUNG

    def _end_without_owner(self, lookup: _Lookup, now: float) -> None:
        if lookup.tries and not lookup.is_answered:
            self._round_trip.took(now - lookup.started)  # at least so long; to ask more often would not help
        certain = len(lookup.votes) >= lookup.enough and lookup.is_second and bool(self._ring.near)
        if certain and not self._may_yet_come(now):
            self._cache.absent(lookup.key, now)
        took = now - lookup.started
        self._end(lookup, Resolved(lookup.subject, None, certain, "directory" if certain else "none", None, took))

    def _end(self, lookup: _Lookup, resolved: Resolved) -> None:
        del self._by_key[lookup.key]
        for number in lookup.beside:
            del self._by_number[number]
        if lookup.is_asked:
            self._ring.out.emit(resolved)
        if lookup.is_check:
            self.checked.append(resolved)
