"""The owner's side of the directory: this node's addresses, its host name, and its place among the members.

Every claim is put again before half its lease is over, soon after the ring around this node has changed, and when a
storer says that the claim gave way. A claim that somebody else holds is tried again now and then. What this node claims
no more it withdraws.

The member nearest to a key must not decide alone whether a claim exists. So every other Put goes to a point beside the
key, as two of a reader's three questions do (`lookup.py`), whether it is another try or a renewal; and a claim that was
stored the first time is looked up, or put beside the key soon where no lookup can tell. That somebody else has an
address is believed of one storer only while no lookup has named this node, and if the record that it shows is not over;
else a lookup decides. That a set is full counts at its key alone.

An address that the directory is to choose is claimed like any other, from one that is taken to the next; it is this
node's when that lookup names this node as its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from math import inf
from typing import Final, Literal

import msgspec

from ipop_core.round_trip import RoundTrip
from ipop_modules.topology.protocol import ids, parts
from ipop_modules.topology.protocol.allocation import Allocation
from ipop_modules.topology.protocol.chance import Random, request_number, spread
from ipop_modules.topology.protocol.claim import Claim
from ipop_modules.topology.protocol.effects import Allocated, Registered, Resolved
from ipop_modules.topology.protocol.messages import Put, PutAnswer
from ipop_modules.topology.protocol.profile import Profile, sealed
from ipop_modules.topology.protocol.proof import Proof
from ipop_modules.topology.protocol.records import (
    Kind,
    Record,
    Sign,
    members_key,
    signed_record,
    subject_key,
)
from ipop_modules.topology.protocol.ring import Ring

LONGEST_RETRY: Final = 6.0
RENEWED: Final = 0.35
RENEWED_WITHIN: Final = 0.1
"""Parts of a lease: renewed when 0.4 to 0.5 of it have passed."""
PATIENT: Final = 2.0
"""Seconds for which an answer to a renewal is waited for at least: there is time, and some answers just come late."""
TAKEN_RETRY: Final = 30.0
REFUSED_RETRY: Final = 10.0
RING_CHANGED: Final = 0.5
DISPLACED_EVERY: Final = 3.0
"""Seconds between two Puts of one claim because somebody says that it gave way."""
YOUNG: Final = 1.0
"""Seconds after joining in which the members around a node may not agree yet on who stores an address."""
LONGEST_CHECK: Final = 300.0
"""Seconds, growing up to these, between lookups that do not name this node as the owner of what was stored as its."""
BESIDE: Final = 5.0
"""Seconds until a place among the members that was stored at the key is put beside it, too."""
SIDES: Final = (1, -1)
"""Beside a key: one way round, and the other."""
EVERYWHERE: Final = (0, *SIDES)
"""Wherever readers ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """What this node signs with."""

    key: bytes
    """Public key, SPKI DER."""
    sign: Sign
    epoch: float
    """Unix time when the machine's clock showed 0, in seconds."""
    lease: int
    certificate: Callable[[], bytes] = bytes
    """Gives the authority's certificate for this node, DER, as it is now; nothing where there is no authority."""


class Registrations:
    def __init__(
        self,
        ring: Ring,
        namespace_key: bytes,
        owner: Owner,
        random: Random,
        proof: Proof,
        *,
        round_trip: RoundTrip,
    ) -> None:
        self._ring = ring
        self._namespace_key = namespace_key
        self._owner = owner
        self._random = random
        self._proof = proof
        self._claims: dict[bytes, Claim] = {}
        self._round_trip = round_trip
        self._set: tuple[bytes, ...] = ()
        """The addresses that this node was given."""
        self._name: str | None = None
        self._parts = {parts.FIRST}
        """Of the set of members: those that this node puts itself in, two while it tries the one before."""
        self._allocation: Allocation | None = None
        self._allocated = False
        self.to_check: list[bytes | str] = []
        """Addresses and names that were stored as this node's, to be looked up."""

    @property
    def addresses(self) -> list[Claim]:
        return [claim for claim in self._claims.values() if isinstance(claim.subject, bytes)]

    @property
    def name(self) -> Claim | None:
        return next((claim for claim in self._claims.values() if isinstance(claim.subject, str)), None)

    @property
    def profile(self) -> Profile:
        """What this node says of itself."""
        return Profile(self._name or "", tuple(sorted({*self._set, *self._chosen()})))

    def key_of(self, subject: bytes | str) -> bytes:
        """The directory's key for an address or a host name of this namespace."""
        return subject_key(self._namespace_key, subject)

    def owns(self, subject: bytes | str) -> bool:
        """Whether this node claims an address or a name, and nobody else is known to have it."""
        claim = self._claims.get(self.key_of(subject))
        if claim is None or claim.state == "taken":
            return False
        return not self._is_candidate(subject)

    def set_addresses(self, addresses: Iterable[bytes], now: float) -> None:
        """Claim these, and what was allocated."""
        self._set = tuple(addresses)
        self._claim_all(now)

    def set_name(self, name: str | None, now: float) -> None:
        """Claim this host name (as `names.py` writes it) while this node has an address."""
        self._name = name
        self._claim_all(now)

    def allocate(self, network: IPv4Network | IPv6Network, wanted: bytes | None, now: float) -> None:
        """Claim an address of the network that is free, `wanted` if that one is; ends in one Allocated."""
        allocation = self._allocation
        if allocation is not None and allocation.network == network and allocation.address is not None:
            if self._allocated:
                self._ring.out.emit(Allocated(allocation.address))
            return
        self._allocation = Allocation(network, self._ring.me, wanted)
        self._allocated = False
        self._claim_all(now)

    def on_checked(self, resolved: Resolved, now: float) -> None:
        """A lookup of what this node claims has ended: it may confirm it, or show that somebody else was faster."""
        claim = self._claims.get(self.key_of(resolved.subject))
        if claim is None:
            return
        was_doubted, is_found = claim.is_doubted, resolved.node == self._ring.me
        if was_doubted:
            self._on_others_word(claim, resolved.node, now)
        if claim.state != "registered" or claim.found or (was_doubted and not is_found):
            return
        if is_found:
            claim.found = True
            if self._is_candidate(claim.subject):
                self._allocated = True
                self._ring.out.emit(Allocated(self._chosen()[0]))
                self._tell(claim, now)
                self._claim_all(now)
        elif resolved.node is not None and self._is_candidate(claim.subject):
            self._try_next(now)
        else:
            claim.is_not_found()
            claim.due = now + spread(self._random, self._round_trip.timeout)

    def withdraw(self, now: float) -> None:
        """This node leaves: everything that it claims is free again."""
        self._set, self._name, self._allocation = (), None, None
        self._claim_all(now)

    def _chosen(self) -> tuple[bytes, ...]:
        """The allocated address, once it is this node's."""
        allocation = self._allocation
        return (allocation.address,) if self._allocated and allocation is not None and allocation.address else ()

    def _is_chosen(self, subject: bytes | str | None) -> bool:
        return self._allocation is not None and subject == self._allocation.address

    def _is_candidate(self, subject: bytes | str | None) -> bool:
        """Chosen for this node, but not its own yet."""
        return self._is_chosen(subject) and not self._allocated and subject not in self._set

    def _try_next(self, now: float) -> None:
        allocation = self._allocation
        if allocation is None:
            return
        self._allocated = False
        if allocation.next() is None:
            self._ring.out.emit(Allocated(None))
            self._allocation = None
        self._claim_all(now)

    def _claim_all(self, now: float) -> None:
        """Make the claims what they should be: put what is new or says something new, withdraw what is too much."""
        profile = self.profile
        wanted: dict[bytes, tuple[bytes | str | None, Profile | None]] = {}
        places = {members_key(self._namespace_key, part): part for part in self._parts}
        candidate = self._allocation.address if self._allocation is not None else None
        for address in (*self._set, *((candidate,) if candidate else ())):
            wanted[self.key_of(address)] = address, None
        if profile.addresses:
            wanted.update(dict.fromkeys(places, (None, profile)))
            if self._name is not None:
                wanted[self.key_of(self._name)] = self._name, profile
        for key in self._claims.keys() - wanted.keys():
            self._withdraw(self._claims.pop(key), now)
        for key, (subject, says) in wanted.items():
            claim = self._claims.get(key)
            if claim is None:
                kind: Kind = "many" if subject is None else "one"
                claim = self._claims[key] = Claim(kind, key, subject, since=self._unix_ms(now), profile=says)
                claim.part = places.get(key, parts.FIRST)
            elif claim.profile == says:
                continue
            claim.profile, claim.tries = says, 0
            claim.numbers.clear()
            if self._ring.placed:
                self._put(claim, now)

    def on_placed(self, now: float) -> None:
        """While the links to the neighbours there are being made, the claims are put through those that are up."""
        for claim in self._claims.values():
            self._put(claim, now)

    def on_joined(self, now: float) -> None:
        for claim in self._claims.values():
            self._tell(claim, now)

    def on_ring_changed(self, now: float) -> None:
        for claim in self._claims.values():
            if claim.due != inf:
                claim.due = min(claim.due, now + spread(self._random, RING_CHANGED))

    def on_displaced(self, key: bytes, now: float) -> None:
        """Anyone can say so, and as often as they like: the answer to the next Put decides, which may have to wait."""
        claim = self._claims.get(key)
        if claim is not None and claim.due != inf and claim.state == "registered":
            due = max(now + spread(self._random, RING_CHANGED), claim.displaced + DISPLACED_EVERY)
            if due < claim.due:
                claim.due = claim.displaced = due

    def on_answer(self, answer: PutAnswer, now: float) -> None:
        knocking = next((c for c in self._claims.values() if answer.number in c.knocks), None)
        if knocking is not None:
            self._on_knock(knocking, answer.number, answer.outcome, now)
            return
        claim = next((c for c in self._claims.values() if answer.number in c.numbers), None)
        if claim is None or claim.record is None:
            return
        if claim.tries == 1:
            self._round_trip.took(now - claim.asked)
        was_beside, record = claim.numbers[answer.number], answer.record
        if answer.outcome == "stored":
            self._stored(claim, now, was_beside=was_beside)
        elif answer.outcome == "stale" and record is not None and self._is_own(record, claim):
            self._outdated(claim, record, now)
        elif answer.outcome == "taken" and claim.kind == "one" and record is not None:
            self._on_taken(claim, record, answer.number, now)
        elif answer.outcome == "full" and claim.kind == "many" and (behind := self._behind(claim)) is not None:
            self._full(claim, answer.number, behind, now)
        elif answer.outcome in ("refused", "full"):
            self._refused(claim, answer.number, now)

    def wake(self, now: float) -> None:
        if not self._ring.placed:
            return
        for claim in list(self._claims.values()):
            if claim.due <= now:
                self._put(claim, now)
                self._look_before(claim, now)
            if claim.check_at <= now:
                self._check(claim, now)

    def next_wake(self) -> float:
        if not self._ring.placed:
            return inf
        due = inf
        for claim in self._claims.values():
            if claim.due < due:  # noqa: PLR1730 - asked after every message: half the time of min()
                due = claim.due
            if claim.check_at < due:  # noqa: PLR1730 - as above
                due = claim.check_at
        return due

    def _check(self, claim: Claim, now: float) -> None:
        claim.check_at = inf
        if not self._ring.attached:
            self._plan_check(claim, now)
        elif claim.state == "registered" and not claim.found and claim.subject is not None:
            claim.checks += 1
            self.to_check.append(claim.subject)

    def _plan_check(self, claim: Claim, now: float) -> None:
        if claim.checks and not self._is_candidate(claim.subject):
            claim.check_at = now + spread(self._random, min(2.0**claim.checks, LONGEST_CHECK))
        else:
            joined = self._ring.joined_at if self._ring.attached else None
            claim.check_at = max(now, (now if joined is None else joined) + YOUNG)

    def _put(self, claim: Claim, now: float) -> None:
        if not claim.numbers or claim.record is None:
            claim.record = self._sign(claim, now)
        if claim.tries:
            claim.pause = min(2 * claim.pause, LONGEST_RETRY)
        else:
            is_renewal = claim.state == "registered" and claim.asked + RENEWED * self._owner.lease <= now
            # A place among the members is shown already; what is put beside it is asked again in no hurry: an answer
            # that comes after the next Put begins everything anew, and where all are that late, for ever.
            is_shown = claim.state == "registered" and claim.kind == "many"
            is_patient = is_renewal or is_shown
            claim.pause = max(PATIENT, self._round_trip.timeout) if is_patient else self._round_trip.timeout
        claim.asked, claim.due = now, now + claim.pause
        if claim.tries:
            claim.change_side()
        claim.tries += 1
        detour = self._ring.detour() if claim.tries > 1 or not self._ring.attached else None
        beside = claim.next_beside(self._ring.beside) if self._ring.attached else 0
        is_beside = beside != 0
        number = claim.number_for(is_beside=is_beside, random=self._random)
        point = ids.from_number(ids.number(claim.key) + beside)
        self._ring.out.to_closest(point, Put(number, self._ring.me, detour, claim.record, is_beside), detour)

    def _ask_another(self, claim: Claim, number: int, now: float) -> None:
        """What one storer answered to this number is not enough: put it elsewhere."""
        del claim.numbers[number]
        self._put(claim, now)

    def _refused(self, claim: Claim, number: int, now: float) -> None:
        if claim.numbers.pop(number):
            claim.go_nearer()
        self._turned_away(claim, now)

    def _turned_away(self, claim: Claim, now: float) -> None:
        """One storer does not keep it: put it elsewhere, at once after the first, the third and so on."""
        claim.refusals += 1
        if claim.refusals % 2:
            self._put(claim, now)
        else:
            claim.numbers.clear()
            claim.due = now + spread(self._random, REFUSED_RETRY)

    def _outdated(self, claim: Claim, record: Record, now: float) -> None:
        """The storer has had a record of this node's that is as new: at once the next one must be newer than that.

        Anyone could show the very one that was put, or an older one: for these it is as if no answer had come.
        """
        is_newer = claim.record is not None and record.sequence > claim.record.sequence
        claim.floor = max(claim.floor, record.sequence)
        claim.numbers.clear()
        if is_newer:
            claim.tries = 0
            self._put(claim, now)

    def _on_taken(self, claim: Claim, record: Record, number: int, now: float) -> None:
        """A storer says that somebody else has it. Whoever kept the record of an owner that is gone can say that, too.

        So others decide where this node has been found, or where the record seems to be over. One without a right to
        the key, behind which this claim is kept, is passed over by every reader.
        """
        was_beside = claim.numbers[number]
        is_kept = self._proof.is_kept(record, "one", claim.key)
        if record.owner == self._ring.me or record.withdrawn or not is_kept:
            return
        if not self._proof.holds(record, "one", claim.key, claim.subject):
            self._stored(claim, now, was_beside=was_beside)
        elif was_beside and claim.found:
            self._ask_another(claim, number, now)
        elif claim.found or self._is_over(record, now):
            self._ask_others(claim, now)
        else:
            self._taken(claim, record.owner, now)

    def _ask_others(self, claim: Claim, now: float) -> None:
        """See whom a lookup finds: one storer alone says that somebody else has it."""
        claim.numbers.clear()
        claim.due = now + spread(self._random, REFUSED_RETRY)
        if claim.subject is not None:
            claim.is_doubted = True
            self.to_check.append(claim.subject)

    def _on_others_word(self, claim: Claim, owner: bytes | None, now: float) -> None:
        claim.is_doubted = False
        if owner not in (None, self._ring.me):
            self._taken(claim, owner or b"", now)
        else:
            self._turned_away(claim, now)

    def _taken(self, claim: Claim, owner: bytes, now: float) -> None:
        claim.answered()
        claim.found = False
        claim.due = now + spread(self._random, TAKEN_RETRY)
        self._settle(claim, "taken", owner, now)

    def _withdraw(self, claim: Claim, now: float) -> None:
        """Where that gets lost, the lease ends the claim."""
        if claim.record is None:
            return
        self._show(claim, EVERYWHERE, now, withdrawn=True)
        if claim.part and parts.before(claim.part) not in self._parts:
            self._show(self._in_part_before(claim), EVERYWHERE, now, withdrawn=True)

    def _sign(self, claim: Claim, now: float, *, withdrawn: bool = False) -> Record:
        sequence = claim.floor = max(self._unix_ms(now), claim.floor + 1)
        owner, says = self._owner, claim.profile
        certificate = owner.certificate() if claim.kind == "one" else b""
        if certificate:
            says = msgspec.structs.replace(says or Profile(), certificate=certificate)
        return signed_record(
            claim.kind,
            claim.key,
            owner_key=owner.key,
            since=claim.since,
            sequence=sequence,
            lease=owner.lease,
            value=b"" if says is None or withdrawn else sealed(says, claim.key, self._namespace_key, self._random),
            sign=owner.sign,
            namespace_key=self._namespace_key,
            withdrawn=withdrawn,
        )

    def _stored(self, claim: Claim, now: float, *, was_beside: bool) -> None:
        # The Put that was lost on the way to the key would have refreshed replicas which this one does not reach.
        is_key_left_out = was_beside and False in claim.numbers.values()
        renewed = 0.0 if is_key_left_out else RENEWED
        claim.answered()
        claim.due = now + renewed * self._owner.lease + spread(self._random, RENEWED_WITHIN * self._owner.lease)
        if claim.kind == "many" and not claim.found:
            claim.found = was_beside
            claim.due = claim.due if claim.found else now + spread(self._random, BESIDE)
        elif not claim.found:
            self._plan_check(claim, now)
        if claim.part and claim.state != "registered":
            self._knock(claim, now)
        self._settle(claim, "registered", self._ring.me, now)
        if claim.subject is None and any(len(part) > len(claim.part) for part in self._parts):
            self._parts = {claim.part}
            self._claim_all(now)

    def _full(self, claim: Claim, number: int, behind: str, now: float) -> None:
        """This part of the members is full: leave it for the one behind, where this node may be already.

        Beside the key others may have come first, so what is full there says nothing of the key.
        """
        if claim.numbers[number]:
            claim.found = True
            self._ask_another(claim, number, now)
            return
        del self._claims[claim.key]
        self._parts = (self._parts - {claim.part}) or {behind}
        self._claim_all(now)

    def _knock(self, claim: Claim, now: float) -> None:
        """Show this node beside the key of the part before its own, lest one storer that says "full" can hide it.

        Whoever has room there lists it; whoever has none tells readers from then on that there are more behind.
        """
        claim.knocks = self._show(self._in_part_before(claim), SIDES, now)

    def _behind(self, claim: Claim) -> str | None:
        """The part for this node when its part is full; None behind the deepest."""
        return parts.for_node(self._ring.me, claim.part)

    def _in_part_before(self, claim: Claim) -> Claim:
        part = parts.before(claim.part)
        key = members_key(self._namespace_key, part)
        return Claim("many", key, None, claim.since, claim.profile, part=part, floor=claim.floor)

    def _show(self, claim: Claim, sides: Iterable[int], now: float, *, withdrawn: bool = False) -> set[int]:
        """Put it at its key (0) and beside it, once; the numbers of these Puts."""
        record = self._sign(claim, now, withdrawn=withdrawn)
        numbers = set()
        for side in sides:
            number = request_number(self._random)
            numbers.add(number)
            point = ids.from_number(ids.number(claim.key) + side * self._ring.beside)
            put = Put(number, self._ring.me, None, record, beside=side != 0 and not withdrawn)
            self._ring.out.to_closest(point, put)
        return numbers

    def _look_before(self, claim: Claim, now: float) -> None:
        """With every other renewal of a place behind a full part, knock there."""
        if claim.part and claim.state == "registered" and claim.tries == 1 and self._parts == {claim.part}:
            claim.is_knocking = not claim.is_knocking
            if claim.is_knocking:
                self._knock(claim, now)

    def _on_knock(self, claim: Claim, number: int, outcome: str, now: float) -> None:
        """Where somebody has room, there may be some at the key, too: this node is here and there while it tries."""
        claim.knocks.discard(number)
        if outcome == "stored" and self._parts == {claim.part}:
            self._parts = {claim.part, parts.before(claim.part)}
            self._claim_all(now)

    def _settle(self, claim: Claim, state: Literal["registered", "taken"], owner: bytes, now: float) -> None:
        claim.state, claim.owner = state, owner
        if self._ring.attached:
            self._tell(claim, now)
        if state == "taken" and self._is_chosen(claim.subject):
            self._try_next(now)

    def _tell(self, claim: Claim, now: float) -> None:
        """Say what became of a claim, once; of an address that the directory is to choose, after a lookup."""
        if claim.state == "waiting" or claim.subject is None:
            return
        if not self._is_candidate(claim.subject) and claim.told != (claim.state, claim.owner):
            claim.told = (claim.state, claim.owner)
            self._ring.out.emit(Registered(claim.subject, claim.state, claim.owner or b""))

    def _is_own(self, record: Record, claim: Claim) -> bool:
        """Whether it is one of this claim's own records."""
        return record.owner == self._ring.me and self._proof.holds(record, claim.kind, claim.key, None)

    def _is_over(self, record: Record, now: float) -> bool:
        """Whether its lease has ended, if its owner's clock and this node's are right."""
        return record.sequence + 1000 * record.lease <= self._unix_ms(now)

    def _unix_ms(self, now: float) -> int:
        return max(0, int((self._owner.epoch + now) * 1000))
