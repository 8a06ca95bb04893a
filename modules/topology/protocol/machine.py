"""The topology of one node as one machine: what happens goes in with the time, effects come out.

`next_wake` says when to call `wake`. Whatever peers send, no method raises. The clock is any that counts seconds and
never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from ipop_core.allowance import Allowance
from ipop_core.round_trip import RoundTrip
from ipop_modules.topology.protocol.census import Census
from ipop_modules.topology.protocol.chance import Random
from ipop_modules.topology.protocol.effects import Effect, Listed, Resolved, Source, Surveyed
from ipop_modules.topology.protocol.lookup import Lookups
from ipop_modules.topology.protocol.members import Members
from ipop_modules.topology.protocol.messages import (
    MAX_ENDPOINT,
    MAX_INTRODUCED,
    Displaced,
    Find,
    Found,
    Full,
    Get,
    GetAnswer,
    Hello,
    Introduction,
    Join,
    JoinAnswer,
    Message,
    MessageError,
    Neighbours,
    OtherRing,
    Peer,
    Put,
    PutAnswer,
    Repair,
    Replicate,
    Survey,
    SurveyAnswer,
    decode,
)
from ipop_modules.topology.protocol.proof import Proof, Vouches
from ipop_modules.topology.protocol.records import Verify, verify_p256
from ipop_modules.topology.protocol.registration import Owner, Registrations
from ipop_modules.topology.protocol.ring import Ring
from ipop_modules.topology.protocol.shortcuts import Shortcuts
from ipop_modules.topology.protocol.storage import Storage

FIRST_WAIT: Final = 0.5
"""Seconds for which the first answer of the directory is waited for; then at least and at most for each other one."""
SHORTEST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 1.6
UNPLACED_EVERY: Final = 1.0
MAX_UNPLACED: Final = 256
HELLOS_A_SECOND: Final = 2.0
HELLOS_AT_ONCE: Final = 64.0
"""Of one neighbour, which says some 25 where sixty newcomers come to it at once: each may ask for an answer, and have
this node look at its place and its routes anew."""
JOINS_A_SECOND: Final = 10.0
JOINS_AT_ONCE: Final = 200.0
"""Of one neighbour, its own and those that it passes on: each is passed on again, so that who says many uses up what
honest neighbours hear of each other."""
SURVEYS_A_SECOND: Final = 5.0
SURVEYS_AT_ONCE: Final = 20.0
"""By way of one neighbour: an answer may be twenty times as long as the question, and goes to whom that names."""

_NEIGHBOURS_OWN: Final = Hello | Join | Replicate | Neighbours | Full | OtherRing | Introduction


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Who this node is in its namespace."""

    namespace_key: bytes
    owner: Owner
    majority: bool = True
    """Other members may lie, too, as in an open namespace: what most storers say counts."""
    vouches: Vouches | None = None
    """Where the namespace has an authority: it decides who has an address."""


class Machine:
    def __init__(
        self,
        me: bytes,
        member: Member | None,
        random: Random,
        now: float,
        *,
        max_shortcuts: int = 64,
        long_links: int | None = 0,
        leaf: bool = False,
        verify: Verify = verify_p256,
    ) -> None:
        """`member` is None on a bare overlay node, which stores for others and claims nothing.

        `long_links`: how many this node opens, None for as many as the ring's size asks for. `leaf`: it takes a place
        in the ring, but carries and stores nothing for others.
        """
        self.ring = Ring(
            me, random, now, long_links=long_links, leaf=leaf, is_shortcut=lambda node: node in self.shortcuts
        )
        self.storage = Storage(self.ring, random, verify, now)
        self.shortcuts = Shortcuts(self.ring.out, max_shortcuts, random)
        self.hellos = Allowance(HELLOS_A_SECOND, HELLOS_AT_ONCE)
        self.joins = Allowance(JOINS_A_SECOND, JOINS_AT_ONCE)
        self.surveys = Allowance(SURVEYS_A_SECOND, SURVEYS_AT_ONCE)
        self.dropped = 0
        """Messages that were not understood or not allowed."""
        self.lookups: Lookups | None = None
        self.registrations: Registrations | None = None
        self.census: Census | None = None
        self.members: Members | None = None
        self._was_placed = self._was_attached = False
        self._me = Source(me, True, me)
        self._unplaced: dict[bytes, float] = {}
        """When each of these was asked last to register again."""
        if member is not None:
            key = member.namespace_key
            trip = RoundTrip(unknown=FIRST_WAIT, shortest=SHORTEST_WAIT, longest=LONGEST_WAIT)
            proof = Proof(key, verify, member.vouches)
            self.lookups = Lookups(
                self.ring, key, random, proof, round_trip=trip, majority=member.majority, epoch=member.owner.epoch
            )
            self.registrations = Registrations(self.ring, key, member.owner, random, proof, round_trip=trip)
            self.census = Census(self.ring, key, random)
            self.members = Members(self.ring, key, random, verify, epoch=member.owner.epoch)
        parts = (self.registrations, self.lookups, self.census, self.members)
        self._parts = tuple([part for part in parts if part is not None])

    # Links.

    def link_up(self, node: bytes, now: float, *, initiator: bool = False) -> list[Effect]:
        """A direct link is up. `initiator`: this node began it."""
        self.ring.link_up(node, initiator, now)
        return self._finish(now)

    def link_down(self, node: bytes, now: float) -> list[Effect]:
        self.shortcuts.link_down(node)
        self.ring.link_down(node, now)
        return self._finish(now)

    def connect_failed(self, node: bytes, kind: str, now: float) -> list[Effect]:
        """A Connect came to nothing."""
        if kind == "near":
            self.ring.connect_failed(node, now)
        elif kind == "long":
            self.ring.long_failed(node, now)
        elif kind == "door":
            self.ring.door_failed(node)
        else:
            self.shortcuts.failed(node)
        return self._finish(now)

    def relink(self, up: Mapping[bytes, Iterable[str]], now: float) -> list[Effect]:
        """The link module, or this one, was restarted: all direct links that are up, and why they are wanted."""
        kinds = {node: frozenset(kinds) for node, kinds in up.items()}
        self.shortcuts.relink((node for node in kinds if "shortcut" in kinds[node]), kinds, now)
        self.ring.relink(kinds, now)
        return self._finish(now)

    # Traffic.

    def demand(self, node: bytes, now: float) -> list[Effect]:
        self.shortcuts.demand(node, now)
        return self._finish(now)

    def idle(self, node: bytes, now: float) -> list[Effect]:
        self.shortcuts.idle(node)
        return self._finish(now)

    def weigh(self, sent: Mapping[bytes, int], now: float) -> list[Effect]:
        """How many bytes have gone to each node in session so far: the answer to a Weigh."""
        self.shortcuts.weigh(sent, now)
        return self._finish(now)

    # Newcomers.

    def introduce(self, node: bytes, peers: Iterable[tuple[bytes, str]], now: float) -> list[Effect]:
        """Where the members of an Introduce are, for the newcomer that it names: the first few are told."""
        told = tuple([Peer(other, endpoint) for other, endpoint in peers if len(endpoint) <= MAX_ENDPOINT])
        if told:
            self.ring.out.to_neighbour(node, Introduction(told[:MAX_INTRODUCED]))
        return self._finish(now)

    # The directory.

    def set_addresses(self, addresses: Iterable[bytes], now: float) -> list[Effect]:
        """This node's virtual addresses, 4 or 16 bytes each. Ignored on a bare overlay node."""
        if self.registrations is not None:
            self.registrations.set_addresses(addresses, now)
        return self._finish(now)

    def set_name(self, name: str | None, now: float) -> list[Effect]:
        """This node's host name, as `names.py` writes it. Ignored on a bare overlay node."""
        if self.registrations is not None:
            self.registrations.set_name(name, now)
        return self._finish(now)

    def allocate(self, network: IPv4Network | IPv6Network, wanted: bytes | None, now: float) -> list[Effect]:
        """Get a free address of the network, `wanted` if that one is: ends in an Allocated, once it is in the ring."""
        if self.registrations is not None:
            self.registrations.allocate(network, wanted, now)
        return self._finish(now)

    def withdraw(self, now: float) -> list[Effect]:
        """This node leaves: nothing is registered in its name any more."""
        if self.registrations is not None and self.ring.placed:
            self.registrations.withdraw(now)
        return self._finish(now)

    def resolve(self, subject: bytes | str, now: float, *, fresh: bool = False) -> list[Effect]:
        """Who owns an address (4 or 16 bytes) or a host name.

        Ends in a Resolved for it within 2.4 s, here or from a later call.
        """
        if self.lookups is None or self.registrations is None:
            self.ring.out.emit(Resolved(subject, None, False, "none", None, 0.0))
        elif self.registrations.owns(subject):
            addresses = self.registrations.profile.addresses if isinstance(subject, str) else ()
            self.ring.out.emit(Resolved(subject, self.ring.me, True, "own", None, 0.0, addresses))
        else:
            self.lookups.resolve(subject, now, fresh=fresh)
        return self._finish(now)

    def list_members(self, now: float) -> list[Effect]:
        """Ends in a Listed within 2.4 s, here or from a later call."""
        if self.members is None:
            self.ring.out.emit(Listed((), certain=False))
        else:
            self.members.ask(now)
        return self._finish(now)

    def unplaced(self, node: bytes, address: bytes, now: float) -> list[Effect]:
        """A member sends from an address that the directory does not give it: ask it to register again."""
        if self.registrations is not None and self._unplaced.get(node, now - UNPLACED_EVERY) + UNPLACED_EVERY <= now:
            self._unplaced.pop(node, None)
            self._unplaced[node] = now
            if len(self._unplaced) > MAX_UNPLACED:
                del self._unplaced[next(iter(self._unplaced))]
            self.ring.out.to_node(node, None, Displaced(self.registrations.key_of(address)))
        return self._finish(now)

    def survey(self, node: bytes, number: int, now: float) -> list[Effect]:
        """Ask a node for its neighbours; Surveyed bears the number, unless a message is lost."""
        self.ring.out.to_node(node, None, Survey(number, self.ring.me, None))
        return self._finish(now)

    # Peers and time.

    def receive(self, data: bytes, source: Source, now: float) -> list[Effect]:
        try:
            message = decode(data)
        except MessageError:
            self.dropped += 1
            return []
        self._handle(message, source, now)
        return self._finish(now)

    def wake(self, now: float) -> list[Effect]:
        self.ring.wake(now)
        self.storage.wake(now)
        for part in self._parts:
            part.wake(now)
        return self._finish(now)

    def next_wake(self) -> float:
        """`inf` for never."""
        due = min(self.ring.next_wake(), self.storage.next_wake())
        for part in self._parts:
            at = part.next_wake()
            if at < due:  # noqa: PLR1730 - asked after every message: half the time of min()
                due = at
        return due

    def _handle(self, message: Message, source: Source, now: float) -> None:  # noqa: PLR0912 - one line for each message
        if not source.proven and isinstance(message, _NEIGHBOURS_OWN):
            self.dropped += 1
            return
        match message:
            case Hello():
                if self.hellos.take(source.sender, now):
                    self.ring.on_hello(message, source.sender, now)
            case Join():
                if self.joins.take(source.sender, now):
                    self.ring.on_join(message, source.sender, now)
            case Neighbours():
                self.ring.on_neighbours(message, source.sender, now)
            case Full():
                self.ring.on_full(source.sender, now)
            case OtherRing():
                self.ring.on_other_ring(message, source.sender, now)
            case Introduction():
                self.ring.on_introduction(message, source.sender)
            case Find():
                self.ring.on_find(message)
            case Found():
                self.ring.on_found(message, now)
            case Survey():
                if source.is_of(message.asker) or self.surveys.take(source.link, now):
                    self.ring.on_survey(message)
            case SurveyAnswer():
                told = message
                self.ring.out.emit(Surveyed(told.number, told.node, told.near, told.long, told.other, told.shortcut))
            case JoinAnswer():
                self.ring.on_join_answer(message, now)
            case Put():
                self.storage.on_put(message, source, now)
            case Get():
                self.storage.on_get(message, source, now)
            case Repair():
                self.storage.on_repair(message, source, now)
            case Replicate():
                self.storage.on_replicate(message, source, now)
            case GetAnswer():
                self._on_get_answer(message, now)
            case PutAnswer():
                if self.registrations is not None:
                    self.registrations.on_answer(message, now)
            case Displaced():
                if self.registrations is not None:
                    self.registrations.on_displaced(message.key, now)

    def _on_get_answer(self, answer: GetAnswer, now: float) -> None:
        if self.lookups is None or self.census is None or self.members is None:
            return
        if not self.lookups.on_answer(answer, now) and not self.members.on_answer(answer, now):
            self.census.on_answer(answer, now)

    def _finish(self, now: float) -> list[Effect]:
        """Follow up what the ring's changes mean for the directory, and hand out the effects."""
        if self.ring.gained:
            self._follow_gained(now)
        if self.ring.is_stirred:
            self.ring.is_stirred = False
            self.storage.complete(now)
            self._follow_place(now)
        effects: list[Effect] = []
        while True:
            while self.ring.out.loopback:
                self._handle(self.ring.out.loopback.popleft(), self._me, now)
            effects += self.ring.out.drain()
            if not self._check(now):
                return effects

    def _follow_gained(self, now: float) -> None:
        gained, self.ring.gained = self.ring.gained, set()
        handed_over = [self.storage.hand_over(node, now) for node in sorted(gained)]
        if any(handed_over) and self._was_attached and self.registrations is not None:
            self.registrations.on_ring_changed(now)

    def _follow_place(self, now: float) -> None:
        """Tell the directory's parts that this node has found its place in the ring, and that it has taken it."""
        if self.ring.placed and not self._was_placed and self.registrations is not None:
            self.registrations.on_placed(now)
        if self.ring.attached and not self._was_attached:
            for part in self._parts:
                part.on_joined(now)
        self._was_placed, self._was_attached = self.ring.placed, self.ring.attached

    def _check(self, now: float) -> bool:
        """What this node claims is looked up as others would; whether anything came of it, or was begun."""
        registrations, lookups = self.registrations, self.lookups
        if registrations is None or lookups is None or not (lookups.checked or registrations.to_check):
            return False
        checked, lookups.checked = lookups.checked, []
        for resolved in checked:
            registrations.on_checked(resolved, now)
        to_check, registrations.to_check = registrations.to_check, []
        for subject in to_check:
            lookups.check(subject, now)
        return True
