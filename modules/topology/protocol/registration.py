"""The owner's side of the directory: this node's addresses and its place among the namespace's members.

Every claim is put again before half its lease is over, soon after the ring around this node has changed, and when a
storer says that the claim gave way. A claim that somebody else holds is tried again now and then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ipop_modules.topology.protocol.chance import Random, request_number, spread
from ipop_modules.topology.protocol.effects import Registered
from ipop_modules.topology.protocol.messages import Put, PutAnswer
from ipop_modules.topology.protocol.records import (
    Kind,
    Record,
    Sign,
    Verify,
    address_key,
    is_genuine,
    members_key,
    signed_record,
)
from ipop_modules.topology.protocol.ring import Ring

RETRIES: Final = (0.3, 0.7, 1.4, 3.0, 6.0)
TAKEN_RETRY: Final = 30.0
REFUSED_RETRY: Final = 10.0
RING_CHANGED: Final = 0.5

State: TypeAlias = Literal["waiting", "registered", "taken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """What this node signs with."""

    key: bytes
    """Public key, SPKI DER."""
    sign: Sign
    epoch: float
    """Unix time when the machine's clock showed 0, in seconds."""
    lease: int


@dataclass(slots=True)
class Claim:
    kind: Kind
    key: bytes
    address: bytes | None
    """None for the place among the members."""
    since: int
    state: State = "waiting"
    owner: bytes | None = None
    due: float | None = None
    tries: int = 0
    number: int | None = None
    record: Record | None = None
    floor: int = 0
    """The next sequence number is above this one."""


class Registrations:
    def __init__(self, ring: Ring, namespace_key: bytes, owner: Owner, random: Random, verify: Verify) -> None:
        self._ring = ring
        self._namespace_key = namespace_key
        self._owner = owner
        self._random = random
        self._verify = verify
        self._claims: dict[bytes, Claim] = {}

    @property
    def addresses(self) -> list[Claim]:
        return [claim for claim in self._claims.values() if claim.address is not None]

    def key_of(self, address: bytes) -> bytes:
        """The directory's key for an address of this namespace."""
        return address_key(self._namespace_key, address)

    def owns(self, address: bytes) -> bool:
        """Whether this node claims the address, and nobody else is known to have it."""
        claim = self._claims.get(address_key(self._namespace_key, address))
        return claim is not None and claim.state != "taken"

    def set_addresses(self, addresses: Iterable[bytes], now: float) -> None:
        """Claim these and no others; a claim that is dropped ends with its lease."""
        wanted: dict[bytes, bytes | None] = {address_key(self._namespace_key, a): a for a in addresses}
        if wanted:
            wanted[members_key(self._namespace_key)] = None
        self._claims = {key: claim for key, claim in self._claims.items() if key in wanted}
        for key, address in wanted.items():
            if key in self._claims:
                continue
            kind: Kind = "many" if address is None else "one"
            claim = self._claims[key] = Claim(kind, key, address, since=self._unix_ms(now))
            if self._ring.attached:
                self._put(claim, now)

    def on_joined(self, now: float) -> None:
        for claim in self._claims.values():
            self._put(claim, now)

    def on_ring_changed(self, now: float) -> None:
        for claim in self._claims.values():
            if claim.due is not None:
                claim.due = min(claim.due, now + spread(self._random, RING_CHANGED))

    def on_displaced(self, key: bytes, now: float) -> None:
        """Anyone can say so: the answer to the next Put decides."""
        claim = self._claims.get(key)
        if claim is not None and claim.due is not None and claim.state == "registered":
            claim.due = min(claim.due, now + spread(self._random, RING_CHANGED))

    def on_answer(self, answer: PutAnswer, now: float) -> None:
        claim = next((c for c in self._claims.values() if c.number == answer.number), None)
        if claim is None:
            return
        claim.tries = 0
        if answer.outcome == "stored":
            claim.number = None
            claim.due = now + spread(self._random, self._owner.lease / 3)
            self._settle(claim, "registered", self._ring.me)
        elif answer.outcome == "stale" and self._is_proof(answer.record, claim, own=True):
            claim.number = None
            claim.floor = answer.record.sequence if answer.record else 0
            self._put(claim, now)
        elif answer.outcome == "taken" and claim.kind == "one" and self._is_proof(answer.record, claim, own=False):
            claim.number = None
            claim.due = now + spread(self._random, TAKEN_RETRY)
            self._settle(claim, "taken", answer.record.owner if answer.record else b"")
        elif answer.outcome == "refused":
            claim.number = None
            claim.due = now + spread(self._random, REFUSED_RETRY)

    def wake(self, now: float) -> None:
        if not self._ring.attached:
            return
        for claim in self._claims.values():
            if claim.due is not None and claim.due <= now:
                self._put(claim, now)

    def next_wake(self) -> float | None:
        return min((claim.due for claim in self._claims.values() if claim.due is not None), default=None)

    def _put(self, claim: Claim, now: float) -> None:
        if claim.number is None or claim.record is None:
            claim.number = request_number(self._random)
            claim.record = self._sign(claim, now)
            claim.tries = 0
        claim.due = now + spread(self._random, RETRIES[min(claim.tries, len(RETRIES) - 1)])
        claim.tries += 1
        self._ring.out.to_closest(claim.key, Put(claim.number, self._ring.me, None, claim.record))

    def _sign(self, claim: Claim, now: float) -> Record:
        sequence = claim.floor = max(self._unix_ms(now), claim.floor + 1)
        owner = self._owner
        return signed_record(
            claim.kind,
            claim.key,
            owner_key=owner.key,
            since=claim.since,
            sequence=sequence,
            lease=owner.lease,
            value=b"",
            sign=owner.sign,
            namespace_key=self._namespace_key,
        )

    def _settle(self, claim: Claim, state: Literal["registered", "taken"], owner: bytes) -> None:
        changed = (claim.state, claim.owner) != (state, owner)
        claim.state, claim.owner = state, owner
        if changed and claim.address is not None:
            self._ring.out.emit(Registered(claim.address, state, owner))

    def _is_proof(self, record: Record | None, claim: Claim, *, own: bool) -> bool:
        """Whether a record shows that this claim is held, by this node or by another."""
        return (
            record is not None
            and (record.kind, record.key) == (claim.kind, claim.key)
            and (record.owner == self._ring.me) is own
            and is_genuine(record, self._verify)
        )

    def _unix_ms(self, now: float) -> int:
        return max(0, int((self._owner.epoch + now) * 1000))
