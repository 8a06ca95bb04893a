"""Two members behind boxes and relays between them, in virtual time; the part of `signal` is played by hand."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from ipop_core.lab.nat import NatKind
from ipop_core.simulated_nat import Address, Nats, SimulatedNat
from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.tincan.link.protocol.backlog import Unsent
from ipop_modules.tincan.link.protocol.events import Endpoint, Observed, RendezvousWanted
from ipop_modules.tincan.link.protocol.mapping import ALTERNATE, NEXT, Mapping, Nat, Observations
from ipop_modules.tincan.link.protocol.searching import Part, Search
from tests.tincan_link.net import OPEN, Net, Peer

PORT: Final = 4741
OVERLAY: Final = 0.04
"""Seconds by way of one relay."""
FURTHER: Final = 20_000
"""The port of further socket 0."""


class Anything:
    def refusal(self, frame: memoryview) -> str:
        return ""


class Member(Peer):
    """A machine that may open further sockets, and that knows what its peers see."""

    def __init__(self, net: Streets, host: str, inner: str) -> None:
        super().__init__(net, host, [inner], OPEN)
        self.observations = Observations()
        self.opened = 0
        self.told: dict[bytes, Offer] = {}
        self.between = self.elsewhere = 0
        """How many other flows begin after the first offer, and how many have."""

    def branch(self, endpoint: Endpoint, count: int) -> Sequence[Endpoint]:
        first, self.opened = self.opened, self.opened + count
        return [(*endpoint[:2], number) for number in range(first, self.opened)]

    def transmit(
        self, endpoint: Endpoint, buffers: Sequence[bytes | bytearray | memoryview], segment: int
    ) -> Unsent | None:
        port = PORT if len(endpoint) == 2 else FURTHER + endpoint[2]
        self.net.send((self.endpoint[0], port), endpoint[:2], b"".join(buffers), segment)
        return None

    def nat(self) -> Nat:
        for event in self.of(Observed):
            if isinstance(event, Observed) and len(event.endpoint) == 2:
                self.observations.add(self.address(event.endpoint), (event.ip, event.port), self.net.now)
        return self.observations.nat(4, {ip_address(self.endpoint[0]).packed}, PORT, self.net.now)

    def offer(self, to: Member | None = None) -> Offer | None:
        """What the other side of a rendezvous is told now; None while no peer has told what it sees."""
        nat = self.nat()
        if nat.outer is None:
            return None
        order = ALTERNATE if to is not None and self.id < to.id else NEXT
        predicted = [_endpoint(*address) for address in nat.predicted(order)]
        outer = _endpoint(*nat.outer)
        while self.elsewhere < self.between:
            self.elsewhere += 1
            self.net.nats.leave((self.endpoint[0], PORT), ("198.51.100.1", self.elsewhere), self.net.now)
        candidates = list(dict.fromkeys([*predicted, self.endpoint, outer]))
        searching, known = self.machine.searching, None if to is None else self.told.get(to.id)
        able = to is None or searching.able(to.id, None if known is None else known.outer, self.net.now)
        return Offer(candidates, nat.mapping, outer, able)

    def take(self, letter: Letter) -> None:
        search = part(self.nat().mapping, letter.offer)
        self.told[letter.sender.id] = letter.offer
        early, candidates, able = not letter.is_answer, letter.offer.candidates, letter.offer.able
        self.machine.probe(letter.sender.id, candidates, self.net.now, early=early, search=search, peer_is_able=able)


class Streets(Net):
    """A net with boxes between the hosts."""

    def __init__(self, seed: int, delay: float = 0.02) -> None:
        super().__init__(seed, delay)
        self.nats = Nats()
        self.members: list[Member] = []
        self.far: dict[str, float] = {}
        """Seconds that every packet to or from a host takes longer."""
        self._letters: list[Letter] = []
        self.offers = 0
        """How many were sent."""

    def send(self, source: Endpoint, target: Endpoint, data: bytes, segment: int) -> None:
        self.sent.append((self.now, source, target, data))
        outer = self.nats.leave(_address(source), _address(target), self.now)
        if not self.passes(outer, target):
            return
        delay = self.delay + self.far.get(source[0], 0.0) + self.far.get(target[0], 0.0)
        heapq.heappush(self._queue, (self.now + delay, len(self.sent), outer, target, data, segment))

    def member(self, place: NatKind | SimulatedNat, number: int, *, careful: bool = True) -> Member:
        """A member on a router of its own of that kind, or on this router."""
        if place is NatKind.OPEN:
            host = f"203.0.113.{number}"
        else:
            host = f"10.77.{number}.2"
            if isinstance(place, NatKind):
                place = SimulatedNat(place, f"203.0.113.{number}", self.random, careful)
            self.nats.put(host, place)
        member = Member(self, host, f"192.168.10.{number}")
        self.peers[member.endpoint] = member
        self.members.append(member)
        return member

    def bare(self, number: int) -> Member:
        """A node on the public segment that only carries."""
        node = Member(self, f"203.0.113.{number}", f"192.168.10.{number}")
        self.peers[node.endpoint] = node
        return node

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._collect()
            self._rendezvous()
            wakes = [at for peer in self.peers.values() if (at := peer.machine.next_wake()) is not None]
            wakes += [letter.at for letter in self._letters]
            at = min([*wakes, self._queue[0][0] if self._queue else end + 1, end + 1])
            if at > end:
                self.now = end
                return
            self.now = max(self.now, at)
            while self._queue and self._queue[0][0] <= self.now:
                self._arrive(*heapq.heappop(self._queue)[2:])
            for peer in self.peers.values():
                peer.machine.wake(self.now)

    def _arrive(self, source: Endpoint, target: Endpoint, data: bytes, segment: int) -> None:
        found = self.nats.arrive(_address(source), _address(target), self.now)
        if found is None:
            return
        peer = self.peers.get((found[0], PORT))
        if peer is not None:
            endpoint = source if found[1] == PORT else (*source, found[1] - FURTHER)
            peer.machine.receive(memoryview(data), segment, endpoint, self.now)

    def _rendezvous(self) -> None:
        """Where one member wants a direct path, its offer goes over the overlay, and the other answers the same way."""
        for a in self.members:
            wanted = {event.node for event in a.events if isinstance(event, RendezvousWanted)}
            a.events = [event for event in a.events if not isinstance(event, RendezvousWanted)]
            for b in self.members:
                offer = a.offer(b) if b.id in wanted else None
                if offer is not None:
                    self.offers += 1
                    self._letters.append(Letter(self.now + OVERLAY, a, b, offer, is_answer=False))
        due = [letter for letter in self._letters if letter.at <= self.now]
        self._letters = [letter for letter in self._letters if letter.at > self.now]
        for letter in due:
            answer = None if letter.is_answer else letter.to.offer(letter.sender)
            if answer is not None:
                self._letters.append(Letter(self.now + OVERLAY, letter.to, letter.sender, answer, is_answer=True))
            letter.to.take(letter)


@dataclass(frozen=True)
class Offer:
    candidates: list[Endpoint]
    mapping: Mapping
    outer: Endpoint
    able: bool = True


@dataclass(frozen=True)
class Letter:
    """An offer or its answer, on its way over the overlay until `at`."""

    at: float
    sender: Member
    to: Member
    offer: Offer
    is_answer: bool


def part(ours: Mapping, theirs: Offer) -> Search | None:
    if ours.changes and theirs.mapping.predictable:
        return Part.OPEN, theirs.outer
    if theirs.mapping.changes and ours.predictable:
        return Part.GUESS, theirs.outer
    return None


class Pair:
    """Two members with a session over three relays, that send each other numbered frames."""

    def __init__(
        self,
        a: NatKind | SimulatedNat,
        b: NatKind | SimulatedNat,
        seed: int,
        *,
        careful: bool = True,
        far: Sequence[float] = (),
    ) -> None:
        """`far`: seconds that packets to and from each relay take longer."""
        self.net = net = Streets(seed)
        net.far = {f"203.0.113.{number}": delay for number, delay in enumerate(far, 1)}
        self.a, self.b = net.member(a, 10, careful=careful), net.member(b, 20, careful=careful)
        self.relays = [net.bare(number) for number in (1, 2, 3)]
        for relay in self.relays:
            for other in (*self.relays, self.a, self.b):
                if other is not relay and relay.id not in other.machine.sessions:
                    other.machine.contact(relay.endpoint, relay.id, net.now)
                    net.run(1.0 if far else 0.3)
                    other.machine.want(relay.id, "near", net.now)
        for peer in net.peers.values():
            peer.machine.set_routes({node: node for node in peer.machine.sessions}, member=peer in self.relays)
        self.sent: list[bytes] = []
        self.began = net.now

    def talk(self, seconds: float, *, until_direct: bool = False) -> None:
        """A frame each way every 50 ms. Alice's side alone asks for a direct path."""
        end = self.net.now + seconds
        while self.net.now < end and not (until_direct and self.direct):
            text = b"%d" % len(self.sent)
            self.sent.append(text)
            for one, other in ((self.a, self.b), (self.b, self.a)):
                one.machine.send_card(other.id, FRAME_HEADER.pack(CARD, 0, 0, len(text)) + text, self.net.now)
                one.machine.confirm_source(other.id, Anything(), self.net.now)
            if len(self.sent) == 2:
                self.a.machine.connect(self.b.id, "shortcut", None, self.net.now)
            self.net.run(0.05)

    @property
    def direct(self) -> bool:
        sessions = self.a.machine.sessions.get(self.b.id), self.b.machine.sessions.get(self.a.id)
        return all(session is not None and session.direct for session in sessions)

    @property
    def elapsed(self) -> float:
        return self.net.now - self.began

    def lost(self) -> int:
        """Frames that did not arrive, both ways; to be asked a while after the last was sent."""
        return sum(len(set(self.sent) - {text for _, _, text in member.card}) for member in (self.a, self.b))


def _address(endpoint: Endpoint) -> Address:
    return endpoint[0], endpoint[1]


def _endpoint(ip: bytes, port: int) -> Endpoint:
    return str(ip_address(ip)), port
