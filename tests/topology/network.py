"""A network of topology machines in virtual time: links, and packets that are forwarded as the link module would.

Nothing here knows the ring: it grows by what the machines ask for. Deterministic for a seed.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count

from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.effects import (
    Connect,
    Effect,
    Joined,
    Registered,
    Release,
    Resolved,
    Routes,
    Send,
    Source,
)
from ipop_modules.topology.protocol.machine import Machine, Member
from ipop_modules.topology.protocol.registration import Owner

LATENCY = 0.02
CONNECT_TIMEOUT = 5.0
NAMESPACE_KEY = b"k" * 32
EPOCH = 1_700_000_000.0


def cheap_sign(key: bytes) -> Callable[[bytes], bytes]:
    return lambda data: sha256(key + data).digest()


def cheap_verify(key: bytes, signature: bytes, data: bytes) -> bool:
    return sha256(key + data).digest() == signature


@dataclass
class Node:
    id: bytes
    machine: Machine
    alive: bool = True
    member: bool = False
    routes: tuple[bytes, ...] = ()
    links: set[bytes] = field(default_factory=set)
    wishes: set[tuple[bytes, str]] = field(default_factory=set)
    events: list[Effect] = field(default_factory=list)

    @property
    def resolved(self) -> list[Resolved]:
        return [event for event in self.events if isinstance(event, Resolved)]

    @property
    def registered(self) -> list[Registered]:
        return [event for event in self.events if isinstance(event, Registered)]


@dataclass(frozen=True)
class Packet:
    send: Send
    sender: bytes
    hops: int = 0
    passed_via: bool = False
    last: bytes = b""


class Network:
    def __init__(self, seed: int, loss: float = 0.0) -> None:
        print(f"seed {seed}")
        self.chance = random.Random(seed)
        self.loss = loss
        self.now = 0.0
        self.nodes: dict[bytes, Node] = {}
        self.sent = 0
        self.attempts: Counter[bytes] = Counter()
        """Connects that were asked for, by the node that they should lead to."""
        self._order = count()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []

    # Building.

    def add(self, *, member: bool = True, key: bytes | None = None, namespace: bytes = NAMESPACE_KEY) -> Node:
        key = key or self.chance.randbytes(91)
        me = sha256(key).digest()[: ids.SIZE]
        node = Node(me, self.new_machine(me, key if member else None, namespace))
        self.nodes[me] = node
        self._set_timer(node)
        return node

    def new_machine(self, me: bytes, key: bytes | None, namespace: bytes = NAMESPACE_KEY) -> Machine:
        owner = Owner(key=key, sign=cheap_sign(key), epoch=EPOCH, lease=600) if key else None
        member = Member(namespace_key=namespace, owner=owner) if owner else None
        return Machine(me, member, self.chance.randbytes, self.now, verify=cheap_verify)

    def contact(self, node: Node, bootstrap: Node) -> None:
        """First contact, as the signal module makes it."""
        node.wishes.add((bootstrap.id, "bootstrap"))
        self.at(2 * LATENCY, lambda: self._link(node, bootstrap))

    def kill(self, node: Node) -> None:
        node.alive = False
        for other in list(node.links):
            self.at(self.chance.uniform(0.5, 3.0), lambda other=other: self.unlink(node, self.nodes[other]))

    def unlink(self, one: Node, other: Node) -> None:
        if other.id not in one.links:
            return
        one.links.discard(other.id)
        other.links.discard(one.id)
        for here, there in ((one, other), (other, one)):
            if here.alive:
                self.perform(here, here.machine.link_down(there.id, self.now))

    def claim(self, node: Node, *addresses: bytes) -> None:
        self.perform(node, node.machine.set_addresses(addresses, self.now))

    def resolve(self, node: Node, address: bytes, *, fresh: bool = False) -> None:
        self.perform(node, node.machine.resolve(address, self.now, fresh=fresh))

    # Running.

    def at(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._order), action))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = end

    def run_until(self, done: Callable[[], bool], limit: float) -> float:
        """Seconds that it took; fails at the limit."""
        start = self.now
        while not done():
            assert self.now < start + limit, f"not within {limit} s"
            self.run(0.05)
        return self.now - start

    @property
    def alive(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.alive]

    def ring_is_right(self) -> bool:
        """Everyone is a member, and is linked to the two nearest on each side and says so."""
        members = [node.id for node in self.alive]
        for node in self.alive:
            forward, backward = ids.around(node.id, members)
            right = set(forward[:2] + backward[:2])
            if not node.member or set(node.machine.ring.near) != right or not right <= node.links:
                return False
        return True

    # What machines ask for.

    def perform(self, node: Node, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self.sent += 1
                    self._forward(node, Packet(effect, node.id))
                case Connect():
                    node.wishes.add((effect.node, effect.kind))
                    self.attempts[effect.node] += 1
                    self._connect(node, effect)
                case Release():
                    node.wishes.discard((effect.node, effect.kind))
                    self.at(5.0, lambda other=effect.node: self._close_unwanted(node, other))
                case Routes():
                    node.member, node.routes = effect.member, effect.neighbours
                case Joined() | Registered() | Resolved():
                    node.events.append(effect)
        self._set_timer(node)

    def _set_timer(self, node: Node) -> None:
        due = node.machine.next_wake(self.now)
        if due is not None:
            self.at(max(0.0, due - self.now), lambda: self._wake(node, node.machine, due))

    def _wake(self, node: Node, machine: Machine, due: float) -> None:
        if node.alive and node.machine is machine and machine.next_wake(self.now) == due:
            self.perform(node, machine.wake(self.now))

    def _connect(self, node: Node, wish: Connect) -> None:
        other = self.nodes.get(wish.node)
        hops = self._path_length(node, wish)
        if other is None or not other.alive or hops is None:
            self.at(CONNECT_TIMEOUT, lambda: self._connect_failed(node, wish))
            return
        self.at((2 * hops + 2) * LATENCY, lambda: self._link(node, other))

    def _connect_failed(self, node: Node, wish: Connect) -> None:
        if node.alive and wish.node not in node.links:
            self.perform(node, node.machine.connect_failed(wish.node, wish.kind, self.now))

    def _link(self, one: Node, other: Node) -> None:
        if not (one.alive and other.alive):
            return
        one.links.add(other.id)
        other.links.add(one.id)
        self.perform(one, one.machine.link_up(other.id, self.now, initiator=True))
        self.perform(other, other.machine.link_up(one.id, self.now, initiator=False))

    def _close_unwanted(self, node: Node, other: bytes) -> None:
        peer = self.nodes[other]
        if not any(wish[0] == other for wish in node.wishes) and not any(wish[0] == node.id for wish in peer.wishes):
            self.unlink(node, peer)

    # Forwarding.

    def _forward(self, node: Node, packet: Packet) -> None:
        following = self._next_hop(node, packet)
        if following == node.id:
            self._deliver(node, packet)
        elif following is not None and self.chance.random() >= self.loss:
            passed = packet.passed_via or following == packet.send.via
            onward = Packet(packet.send, packet.sender, packet.hops + 1, passed, node.id)
            self.at(LATENCY, lambda: self._arrive(self.nodes[following], onward))

    def _arrive(self, node: Node, packet: Packet) -> None:
        if node.alive and packet.hops < 64:
            if packet.send.mode == "link":
                self._deliver(node, packet)
            else:
                self._forward(node, packet)

    def _next_hop(self, node: Node, packet: Packet) -> bytes | None:
        send = packet.send
        if send.mode == "link":
            return send.to if send.to in node.links else None
        target = send.via if send.via and send.via != node.id and not packet.passed_via else send.to
        exact = send.mode == "exact" or target != send.to
        if target == node.id or target in node.links:
            return target
        routes = [r for r in node.routes if r in node.links]
        if not node.member:
            return routes[0] if routes else None
        nearest = ids.closest(target, routes)
        if nearest and ids.distance(nearest, target) < ids.distance(node.id, target):
            return nearest
        return None if exact else node.id

    def _deliver(self, node: Node, packet: Packet) -> None:
        if packet.send.mode == "exact" and packet.send.to != node.id:
            return
        proven = packet.send.mode == "link"
        source = Source(packet.sender, proven, packet.last or node.id)
        self.perform(node, node.machine.receive(packet.send.payload, source, self.now))

    def _path_length(self, node: Node, wish: Connect) -> int | None:
        packet = Packet(Send(wish.node, "exact", wish.via, b""), node.id)
        here = node
        for hops in range(64):
            if here.id == wish.node:
                return hops
            following = self._next_hop(here, packet)
            if following is None or not self.nodes[following].alive:
                return None
            passed = packet.passed_via or following == wish.via
            packet = Packet(packet.send, packet.sender, hops, passed, here.id)
            here = self.nodes[following]
        return None
