"""The storer's side of the directory: answer Put and Get, keep replicas at the members on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from math import inf
from typing import Final

from ipop_core.allowance import Allowance
from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.chance import Random
from ipop_modules.topology.protocol.effects import Source
from ipop_modules.topology.protocol.handover import HandOver
from ipop_modules.topology.protocol.keepers import REPLICAS, SIDE, Keepers
from ipop_modules.topology.protocol.messages import (
    MAX_COPIES,
    Copy,
    Displaced,
    Get,
    GetAnswer,
    Put,
    PutAnswer,
    Repair,
    Replicate,
)
from ipop_modules.topology.protocol.neighbourhood import NEAR
from ipop_modules.topology.protocol.readers import Readers
from ipop_modules.topology.protocol.records import Kind, Record, Verify, is_genuine
from ipop_modules.topology.protocol.ring import Ring
from ipop_modules.topology.protocol.store import Store

NEWS: Final = 1000
"""Milliseconds by which one storer must have seen a claim longer than another for that to be worth a message."""
SWEEP: Final = 30.0
REPAIRS_A_SECOND: Final = 20.0
REPAIRS_AT_ONCE: Final = 200.0
"""Of one neighbour: each may cost the check of a signature, and gets no answer that would slow its sender down."""
REPLICAS_A_SECOND: Final = 200.0
REPLICAS_AT_ONCE: Final = 4096.0
"""Of one neighbour, records that are new here: when rings merge there are many at once."""
CORRECTIONS_A_SECOND: Final = 10.0
CORRECTIONS_AT_ONCE: Final = 512.0
"""Because of one neighbour, answers to what it said wrongly, and news of claims that it made others give way to: who
never learns, or changes its mind, would keep all storers of a key busy. What is left out the owners' renewals bring."""
PUTS_A_SECOND: Final = 50.0
PUTS_AT_ONCE: Final = 2048.0
"""Of one neighbour: each may cost the check of a signature and six replicas. When rings merge a thousand nodes may put
themselves among the members by way of one, and an owner whose Put is dropped goes another way."""


class Storage:
    def __init__(self, ring: Ring, random: Random, verify: Verify, now: float) -> None:
        self._ring = ring
        self._verify = verify
        self._readers = Readers(random)
        self.repairs = Allowance(REPAIRS_A_SECOND, REPAIRS_AT_ONCE)
        self.puts = Allowance(PUTS_A_SECOND, PUTS_AT_ONCE)
        self.replicas = Allowance(REPLICAS_A_SECOND, REPLICAS_AT_ONCE)
        self.corrections = Allowance(CORRECTIONS_A_SECOND, CORRECTIONS_AT_ONCE)
        self.store = Store()
        self._sweep_at = now + SWEEP
        self._keepers, self._surroundings = Keepers([ring.me]), ring.surroundings
        """Who holds what, by these surroundings."""
        self._handover = HandOver(ring, self.store, lambda copies, node: self._replicate(copies, [node]))

    def on_put(self, put: Put, source: Source, now: float) -> None:
        """Beyond its allowance a neighbour gets answers about what is stored already, and no more."""
        if not self._ring.member:
            return
        record = put.record
        is_allowed = self.puts.take(source.link, now)
        if not is_allowed and not self.store.holds(record):
            return
        is_misplaced = (put.beside and not self._is_place(record.key, now)) or not self._is_welcome(record.key)
        if is_misplaced or record.owner != put.asker or not self._is_genuine(put.record):
            self._ring.out.to_node(put.asker, put.via, PutAnswer(put.number, "refused", None))
            return
        outcome = self.store.put(record, record.lease, source.link, now)
        if is_allowed and outcome.state in ("stored", "taken"):
            copies = self.store.to_hand_on(record, now) or [Copy(record, record.lease)]
            self._replicate(copies, self._other_keepers(record.key))
        self._ring.out.to_node(put.asker, put.via, PutAnswer(put.number, outcome.state, outcome.record))

    def on_get(self, get: Get, source: Source, now: float) -> None:
        if not self._ring.member:
            return
        found = [] if get.count_only else self.store.get(get.kind, get.key, now, get.after)
        copies, token = self._readers.answer(get, found, source, now)
        total = self.store.count(get.kind, get.key, without=get.asker, now=now)
        keeps = self._is_place(get.key, now)
        behind = self.store.has_turned_away(get.key, now)
        self._ring.out.to_node(get.asker, get.via, GetAnswer(get.number, tuple(copies), total, keeps, token, behind))

    def on_replicate(self, replicate: Replicate, source: Source, now: float) -> None:
        """Heeded only from direct neighbours that are in the ring; who sent a losing record gets the one that won.

        Of the claims to one key the first stands, as the sender sees it: those behind it lose to nobody. Who hears of
        one claim hears of all that are here, lest it takes one that waits for the first.
        """
        link = self._ring.links.get(source.sender)
        if link is None or not link.member:
            return
        winners: list[Copy] = []
        before: dict[bytes, bytes] = {}
        for copy in replicate.copies:
            record = copy.record
            is_known = self.store.holds(record)
            if not is_known and not self._is_welcome(record.key):
                continue
            if not is_known and not (self.replicas.take(source.link, now) and is_genuine(record, self._verify)):
                continue
            behind = before.get(record.key) if record.kind == "one" else None
            before[record.key] = record.owner
            outcome = self.store.put(
                record, copy.remaining, source.sender, now, held=copy.held, merge=True, behind=behind
            )
            lost = outcome.state == "stale" or (outcome.state == "taken" and behind is None)
            if lost and outcome.record is not None:
                winners += self._unknown_to(replicate, self.store.to_hand_on(outcome.record, now))
            if outcome.displaced is not None and self.corrections.take(source.link, now):
                self._ring.out.to_node(outcome.displaced.owner, None, Displaced(outcome.displaced.key))
                self._replicate(
                    self.store.to_hand_on(record, now), (node for node in self._ring.near if node != source.sender)
                )
        if winners and self.corrections.take(source.link, now):
            self._replicate(list(dict.fromkeys(winners)), [source.sender])

    def _unknown_to(self, replicate: Replicate, copies: list[Copy]) -> list[Copy]:
        """These, if one of them is news to who sent that.

        Two storers that have seen a claim at times which differ by the way between them may put two claims in different
        orders. They would tell each other for ever.
        """
        said = {copy.record: copy.held for copy in replicate.copies}
        is_news = any(copy.record not in said or said[copy.record] + NEWS < copy.held for copy in copies)
        return copies if is_news else []

    def on_repair(self, repair: Repair, source: Source, now: float) -> None:
        """Anyone may say so: heeded by members that should hold it, if it is genuine, but behind what is here already.

        For how long a claim has been seen anyone can say, so it moves up only on the word of a neighbour in the ring.
        """
        record = repair.copy.record
        if not self._ring.member or not self._keeps(record.key) or not self.repairs.take(source.link, now):
            return
        if self._is_genuine(record):
            self.store.put(record, repair.copy.remaining, source.link, now)

    def hand_over(self, node: bytes, now: float) -> bool:
        """A near neighbour is new: give it what it is to hold; whether it was done at once."""
        return self._handover.gained(node, now)

    def complete(self, now: float) -> None:
        """Give near neighbours what they are to hold since the ring has changed, if it has."""
        self._handover.review(now)

    def wake(self, now: float) -> None:
        if self._sweep_at <= now:
            self.store.expire(now)
            self._handover.sweep()
            self._sweep_at = now + SWEEP
        self._handover.wake(now)

    def next_wake(self) -> float:
        return min(self._sweep_at if len(self.store) else inf, self._handover.next_wake())

    def _is_place(self, key: bytes, now: float) -> bool:
        """Whether what lies under a key would be here: this node should hold it, and has had its place for a while."""
        return self._ring.is_settled(now) and self._keeps(key)

    def _is_welcome(self, key: bytes) -> bool:
        """While there is much room everything is, for others may know better who is near the key."""
        return not self.store.is_half_full or self._keeps(key)

    def _keeps(self, key: bytes) -> bool:
        """Whether this node should hold what lies under a key."""
        surroundings = self._ring.surroundings
        if surroundings is not self._surroundings:
            self._surroundings = surroundings
            self._keepers = Keepers((self._ring.me, *self._ring.around(SIDE + NEAR)))
        return self._ring.me in self._keepers.of(key)

    def _other_keepers(self, key: bytes) -> list[bytes]:
        """Which others should, of those that this node knows: beside its key a record may lie at the edge of these."""
        me, others = self._ring.me, self._ring.around(SIDE + NEAR)
        if self._ring.is_small or ids.closest(key, (me, *others)) == me:
            return [*self._ring.around(SIDE)]
        line = sorted((me, *others), key=lambda node: (ids.clockwise(me, node) + ids.RING // 2) % ids.RING)
        at = line.index(ids.closest(key, line) or me)
        start = max(0, min(at - SIDE, len(line) - REPLICAS))
        return [node for node in line[start : start + REPLICAS] if node != me]

    def _is_genuine(self, record: Record) -> bool:
        return self.store.holds(record) or is_genuine(record, self._verify)

    def _replicate(self, copies: list[Copy], nodes: Iterable[bytes]) -> None:
        for node in nodes:
            if node not in self._ring.links:
                for copy in copies:
                    self._ring.out.to_node(node, None, Repair(copy))
                continue
            for chunk in _chunks(copies):
                self._ring.out.to_neighbour(node, Replicate(tuple(chunk)))


def _chunks(copies: list[Copy]) -> Iterator[list[Copy]]:
    """So many at once as a message takes: all claims to one key in the same one."""
    chunk: list[Copy] = []
    for _, claims in groupby(copies, key=_belongs_to):
        together = list(claims)
        if len(chunk) + len(together) > MAX_COPIES:
            yield chunk
            chunk = []
        chunk += together
    if chunk:
        yield chunk


def _belongs_to(copy: Copy) -> tuple[Kind, bytes, bytes]:
    """The same for all claims to one key; different for the records of a set, which may be large."""
    record = copy.record
    return record.kind, record.key, b"" if record.kind == "one" else record.owner
