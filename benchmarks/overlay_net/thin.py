"""Topology machines over links that are just there, for rings of thousands of nodes.

What is left out of the real links is replaced by figures: a link is made after the round trips that the handshake and
the rendezvous take over the ring's real path, a dead neighbour is noticed as the links' timers would, every message
costs OVERHEAD bytes a link besides its own, and links cost what their upkeep does (`upkeep.py`). Packets are forwarded
by the links' own table and rules (`routes.py`, `forwarding.py`); who makes contact with which bootstrap, and when, the
signal module's machine says (`first_contact.py`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Container
from dataclasses import dataclass, field
from math import inf
from typing import get_args

import msgspec

from benchmarks.overlay_net.first_contact import ANSWERED_WITHIN, KIND, Contacts, Ended
from benchmarks.overlay_net.known_peers import KnownPeers
from benchmarks.overlay_net.members import NAMESPACE_KEY, Recipe, node_of
from benchmarks.overlay_net.upkeep import Upkeep
from ipop_core.simulation import World
from ipop_modules.signal.dialer import OWN_ID
from ipop_modules.signal.protocol.bootstrap import DEFAULT_PORT, Bootstrap
from ipop_modules.tincan.link.protocol import forwarding, overlay
from ipop_modules.tincan.link.protocol.parting import PATIENCE
from ipop_modules.tincan.link.protocol.path import KEEPALIVE
from ipop_modules.tincan.link.protocol.routes import Routes as Table
from ipop_modules.tincan.link.protocol.routes import Step
from ipop_modules.topology.known import HELD
from ipop_modules.topology.known import KIND as KNOWN
from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.effects import (
    Allocated,
    Connect,
    Effect,
    Introduce,
    Introduced,
    Joined,
    Listed,
    Registered,
    Release,
    Resolved,
    Routes,
    Send,
    Source,
    Surveyed,
)
from ipop_modules.topology.protocol.machine import Machine
from ipop_modules.topology.protocol.messages import Message
from ipop_modules.topology.protocol.remembered import Kept

CONNECT_TIMEOUT = 5.0
DEAD_AFTER = 4.0
FAILING_AFTER = 1.5
"""Packets take another way from then on, where there is one: after the links' suspicion and a probe that is lost."""
FAILING_AFTER_RELAYING = 0.7
"""The same of a link to which a packet on its way was handed."""
LINK_OVERHEAD = 95
"""Bytes around a message between neighbours: block, frame, role, the UDP and IP headers, and its part of a loss report,
which comes every 16 blocks."""
ROUTED_OVERHEAD = 155


@dataclass
class Node:
    id: bytes
    machine: Machine
    table: Table
    alive: bool = True
    links: set[bytes] = field(default_factory=set)
    failing: set[bytes] = field(default_factory=set)
    """Links whose other end has not answered for a while."""
    wishes: set[tuple[bytes, str]] = field(default_factory=set)
    events: list[Effect] = field(default_factory=list)
    lies: Callable[[bytes], bytes] | None = None
    """Alters what this node's machine sends."""
    due: float = inf
    """When the machine wants to be woken next."""
    contacts: Contacts | None = None
    """First contact, once the node was told of a bootstrap."""

    @property
    def member(self) -> bool:
        return self.machine.ring.attached

    @property
    def routes(self) -> tuple[bytes, ...]:
        """Direct neighbours in the table."""
        return tuple(node for node, following in self.table.entries() if node == following)

    @property
    def resolved(self) -> list[Resolved]:
        return [event for event in self.events if isinstance(event, Resolved)]

    @property
    def registered(self) -> list[Registered]:
        return [event for event in self.events if isinstance(event, Registered)]


class Packet(msgspec.Struct, frozen=True):
    send: Send
    sender: bytes
    last: bytes = b""
    route: overlay.Packet | None = None
    """How it goes on over the ring; None before the first step, and on a direct link."""


class Network(World):
    """Here nodes are the weather's places, and no datagrams are sent; see `full.py` for those."""

    def __init__(self, seed: int, loss: float = 0.0, *, latency: float = 0.02, recipe: Recipe | None = None) -> None:
        super().__init__(seed, latency=latency, loss=loss)
        print(f"seed {seed}")
        self.recipe = recipe or Recipe()
        self._first_chance = random.Random(f"first contact {seed}")
        """Its pauses are drawn apart, so that no other draw depends on how many trials there were."""
        self._known_chance = random.Random(f"known peers {seed}")
        """The same of whom a node without links asks."""
        self.known: dict[bytes, KnownPeers] = {}
        self.kept: dict[bytes, Kept] = {}
        """The known peers on each node's disk."""
        self.nodes: dict[bytes, Node] = {}
        self.sent = 0
        self.bytes_by: Counter[str] = Counter()
        """What was sent, by the name of the message."""
        self.upkeep = Upkeep()
        self.attempts: Counter[bytes] = Counter()
        """Connects that were asked for, by the node that they should lead to."""

    # Building.

    def add(self, *, member: bool = True, key: bytes | None = None, namespace: bytes = NAMESPACE_KEY) -> Node:
        key = key or self.chance.randbytes(91)
        me = node_of(key)
        node = Node(me, self.new_machine(me, key if member else None, namespace), Table(me))
        self.nodes[me] = node
        self._know_peers(node)
        self._set_timer(node)
        return node

    def new_machine(self, me: bytes, key: bytes | None, namespace: bytes = NAMESPACE_KEY) -> Machine:
        return self.recipe.machine(me, key, self.chance.randbytes, self.now, namespace=namespace)

    def _know_peers(self, node: Node) -> None:
        self.known[node.id] = KnownPeers(
            self,
            self._known_chance,
            linked=lambda: node.links,
            is_alone=lambda: node.machine.ring.is_alone,
            connect=lambda other, endpoint: self._ask_known_peer(node, other, endpoint),
            kept=self.kept.setdefault(node.id, Kept()),
        )

    def contact(self, node: Node, bootstrap: Node) -> None:
        """From now on, this is one of the node's bootstraps, as its configuration would name it."""
        if node.contacts is None:
            node.contacts = Contacts(
                node.id,
                self,
                self._first_chance,
                dial=lambda bootstrap, ended: self.dial(node, bootstrap, ended),
                confirm=lambda other, ended: self.confirm(node, other, ended),
                release=lambda other: self.release(node, other, KIND),
            )
        node.contacts.add(self.bootstrap(bootstrap))

    def forget_bootstraps(self, node: Node) -> None:
        if node.contacts is not None:
            node.contacts.forget()

    def bootstrap(self, node: Node) -> Bootstrap:
        """As others write the node in their configurations; here its id is its place."""
        return Bootstrap(node.id.hex(), node.id.hex(), DEFAULT_PORT)

    def kill(self, node: Node) -> None:
        """Neighbours notice when they next hear nothing: at their next keepalive at the latest."""
        self._stop(node)
        for other in sorted(node.links):
            unheard = self.chance.uniform(0.0, KEEPALIVE)
            self.after(unheard, self._unanswered, self.nodes[other], node, FAILING_AFTER)

    def split(self, *islands: Collection[bytes]) -> None:
        """Nothing passes between these nodes any more: links across end, as those of the dead do."""
        self.weather.split(*islands)
        for node in self.alive:
            for other in sorted(node.links):
                if not self.weather.reaches(node.id, other):
                    unheard = self.chance.uniform(0.0, KEEPALIVE)
                    self.after(unheard, self._unanswered, node, self.nodes[other], FAILING_AFTER)

    def mend(self) -> None:
        """Everything passes again. Links that have ended don't come back by themselves."""
        self.weather.mend()

    def unlink(self, one: Node, other: Node) -> None:
        if other.id not in one.links:
            return
        for here, there in ((one, other), (other, one)):
            here.links.discard(there.id)
            here.failing.discard(there.id)
        self.upkeep.closed(one.id, other.id, self.now)
        for here, there in ((one, other), (other, one)):
            here.wishes = {wish for wish in here.wishes if wish[0] != there.id}
            if here.alive:
                self.perform(here, here.machine.link_down(there.id, self.now))
                self.known[here.id].link_down()
                if here.contacts is not None:
                    here.contacts.link_down(there.id, "it ended")

    def claim(self, node: Node, *addresses: bytes) -> None:
        self.perform(node, node.machine.set_addresses(addresses, self.now))

    def resolve(self, node: Node, subject: bytes | str, *, fresh: bool = False) -> None:
        self.perform(node, node.machine.resolve(subject, self.now, fresh=fresh))

    def name(self, node: Node, name: str | None) -> None:
        self.perform(node, node.machine.set_name(name, self.now))

    def leave(self, node: Node) -> None:
        """A clean stop: what it registered is withdrawn, and its neighbours see the links go."""
        self.perform(node, node.machine.withdraw(self.now))
        self._stop(node)
        for other in sorted(node.links):
            self.after(self.weather.delay(), self.unlink, node, self.nodes[other])

    def _stop(self, node: Node) -> None:
        node.alive = False
        self.known[node.id].stop()
        if node.contacts is not None:
            node.contacts.stop()

    # Looking.

    @property
    def alive(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.alive]

    def spent(self) -> dict[str, int]:
        """Bytes that were sent so far, headers and the links' upkeep included, by what they were for."""
        self.upkeep.catch_up(self.now)
        return {**self.bytes_by, "links": self.upkeep.size}

    def ring_is_right(self, among: Container[bytes] | None = None) -> bool:
        """Everyone (`among` these nodes) is a member, and is linked to the two nearest on each side and says so."""
        alive = [node for node in self.alive if among is None or node.id in among]
        members = sorted(node.id for node in alive)
        place = {node: index for index, node in enumerate(members)}
        for node in alive:
            at = place[node.id]
            right = {members[(at + step) % len(members)] for step in (-2, -1, 1, 2)} - {node.id}
            if not node.member or set(node.machine.ring.near) != right or not right <= node.links:
                return False
        return True

    def hops(self, start: Node, target: bytes) -> int | None:
        """How many links a packet for that very node takes now; None when it doesn't arrive."""
        return self._way_length(start, overlay.Packet(target, start.id, overlay.MESSAGE, b""))

    # What machines ask for.

    def perform(self, node: Node, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self.sent += 1
                    self._forward(node, Packet(effect if node.lies is None else _altered(effect, node.lies), node.id))
                case Connect():
                    node.wishes.add((effect.node, effect.kind))
                    self.attempts[effect.node] += 1
                    self._connect(node, effect)
                case Release():
                    self.release(node, effect.node, effect.kind)
                case Introduce(newcomer, members):
                    peers = self.known[node.id].introduction(members)
                    self.perform(node, node.machine.introduce(newcomer, peers, self.now))
                case Introduced(peers):
                    self.known[node.id].introduced(peers)
                case Routes():
                    node.table.replace(effect.hops, member=effect.member)
                case Joined() | Registered() | Allocated() | Resolved() | Listed() | Surveyed():
                    node.events.append(effect)
        self._set_timer(node)

    def dial(self, node: Node, bootstrap: Bootstrap, ended: Ended) -> None:
        """A handshake with a known address; `ended` is told what came of it."""
        other = self.nodes[bytes.fromhex(bootstrap.host)]
        begun = self.now

        def shaken() -> None:
            if other is node:
                ended(None, OWN_ID)
                return
            self._link(node, other)
            if other.id in node.links:
                node.wishes.add((other.id, KIND))
                ended(other.id, "")
            else:
                self.after(begun + ANSWERED_WITHIN - self.now, ended, None, "no answer")

        self.after(2 * self.weather.delay(), shaken)

    def confirm(self, node: Node, other: bytes, ended: Ended) -> None:
        """Whether a bootstrap's link is there: of one that ended, first contact was told."""
        if other in node.links:
            node.wishes.add((other, KIND))
            ended(other, "")
        else:
            ended(None, "no link")

    def release(self, node: Node, other: bytes, kind: str) -> None:
        node.wishes.discard((other, kind))
        self.after(PATIENCE, self._close_unwanted, node, other)

    def _set_timer(self, node: Node) -> None:
        due = node.machine.next_wake()
        if due not in (inf, node.due):
            self.after(due - self.now, self._wake, node, due)
        node.due = due

    def _wake(self, node: Node, due: float) -> None:
        if node.alive and node.due == due:
            node.due = inf
            self.perform(node, node.machine.wake(self.now))

    def _connect(self, node: Node, wish: Connect) -> None:
        other = self.nodes.get(wish.node)
        hops = self._path_length(node, wish)
        if other is None or not other.alive or hops is None or not self.weather.reaches(node.id, other.id):
            self.after(CONNECT_TIMEOUT, self._connect_failed, node, wish)
            return
        # INIT, RESPONSE, the offer and its answer over the ring, then a probe and its answer.
        self.after(sum(self.weather.delay() for _ in range(4 * hops + 2)), self._shake_hands, node, other, wish)

    def _shake_hands(self, node: Node, other: Node, wish: Connect) -> None:
        self._link(node, other)
        if wish.node not in node.links:
            self.after(CONNECT_TIMEOUT, self._connect_failed, node, wish)

    def _connect_failed(self, node: Node, wish: Connect) -> None:
        if node.alive and wish.node not in node.links:
            node.wishes.discard((wish.node, wish.kind))
            self.perform(node, node.machine.connect_failed(wish.node, wish.kind, self.now))

    def _link(self, one: Node, other: Node) -> None:
        if not (one.alive and other.alive) or not self.weather.reaches(one.id, other.id):
            return
        self.upkeep.made(one.id, other.id, self.now)
        one.links.add(other.id)
        other.links.add(one.id)
        for here, there in ((one, other), (other, one)):
            kinds = {kind for node, kind in here.wishes if node == there.id}
            self.known[here.id].note(there.id, there.id.hex(), kinds)
        self.perform(one, one.machine.link_up(other.id, self.now, initiator=True))
        self.perform(other, other.machine.link_up(one.id, self.now, initiator=False))

    def _ask_known_peer(self, node: Node, other: bytes, endpoint: str) -> None:
        self.after(2 * self.weather.delay(), self._link_for_a_while, node, self.nodes[other])

    def _link_for_a_while(self, node: Node, other: Node) -> None:
        self._link(node, other)
        if other.id in node.links:
            node.wishes.add((other.id, KNOWN))
            self.after(HELD, self.release, node, other.id, KNOWN)

    def _close_unwanted(self, node: Node, other: bytes) -> None:
        peer = self.nodes[other]
        if not any(wish[0] == other for wish in node.wishes) and not any(wish[0] == node.id for wish in peer.wishes):
            self.unlink(node, peer)

    # Forwarding, by the links' rules.

    def _forward(self, node: Node, packet: Packet) -> None:
        send, route = packet.send, packet.route
        if send.mode == "link":
            following, overhead = send.to, LINK_OVERHEAD
            if following not in node.links:
                return
        else:
            step, route = self._next_step(node, route or _routed(packet))
            if step is None:
                if forwarding.ends(node.table, route, is_own=not packet.last):
                    self._deliver(node, packet)
                return
            following, overhead = step.following, ROUTED_OVERHEAD
            route = overlay.one_hop_on(route, step.mark, strict=step.strict)
        self.bytes_by[message_name(send.payload)] += len(send.payload) + overhead
        self.upkeep.message(node.id, following, self.now)
        if not self.weather.passes(node.id, following):
            if not self.weather.reaches(node.id, following):
                self._unanswered(node, self.nodes[following], FAILING_AFTER)
            return
        onward = Packet(send, packet.sender, node.id, route)
        self.after(self.weather.delay(), self._arrive, node, self.nodes[following], onward)

    def _arrive(self, before: Node, node: Node, packet: Packet) -> None:
        if not node.alive:
            self._unanswered(before, node, FAILING_AFTER if packet.send.mode == "link" else FAILING_AFTER_RELAYING)
        elif packet.send.to == node.id:
            self._deliver(node, packet)
        else:
            self._forward(node, packet)

    def _unanswered(self, node: Node, dead: Node, failing_after: float) -> None:
        """From now on, a link owes an answer to what was sent over it."""
        self.after(failing_after, lambda: node.failing.add(dead.id) if dead.id in node.links else None)
        self.after(DEAD_AFTER, self.unlink, node, dead)

    def _next_step(self, node: Node, route: overlay.Packet) -> tuple[Step | None, overlay.Packet]:
        """Whom it is handed to; None where its way ends, be it here or by a rule."""
        if route.to_via == node.id:
            route = overlay.past_via(route)
        linked = node.links.__contains__
        sound = (lambda other: other in node.links and other not in node.failing) if node.failing else linked
        step, route = forwarding.next_step(node.table, route, (sound, linked) if node.failing else (linked,))
        if step is None or route.sender == node.id:
            return step, route
        if route.hop_limit <= 1 or not forwarding.carries(node.table, route, step):
            return None, route._replace(closest=False)
        return step, route

    def _deliver(self, node: Node, packet: Packet) -> None:
        if packet.send.mode == "exact" and packet.send.to != node.id:
            return
        proven = packet.send.mode == "link"
        source = Source(packet.sender, proven, packet.last or node.id)
        self.perform(node, node.machine.receive(packet.send.payload, source, self.now))

    def _path_length(self, node: Node, wish: Connect) -> int | None:
        return self._way_length(node, overlay.Packet(wish.node, node.id, overlay.MESSAGE, b"", to_via=wish.via))

    def _way_length(self, here: Node, route: overlay.Packet) -> int | None:
        """How many links a packet for that very node takes now; None when it doesn't arrive."""
        while here.id != route.to:
            step, route = self._next_step(here, route)
            if step is None or not self.nodes[step.following].alive:
                return None
            if not self.weather.reaches(here.id, step.following):
                return None
            route = overlay.one_hop_on(route, step.mark, strict=step.strict)
            here = self.nodes[step.following]
        return route.hops


def _routed(packet: Packet) -> overlay.Packet:
    send = packet.send
    is_closest = send.mode == "closest"
    return overlay.Packet(send.to, packet.sender, overlay.MESSAGE, b"", closest=is_closest, to_via=send.via)


def _altered(send: Send, lies: Callable[[bytes], bytes]) -> Send:
    return msgspec.structs.replace(send, payload=lies(send.payload))


def nearest(network: Network, key: bytes) -> Node:
    """The node that should answer for a key."""
    return network.nodes[ids.closest(key, (node.id for node in network.alive)) or b""]


_NAMES: dict[int, str] = {kind.__struct_config__.tag: kind.__name__ for kind in get_args(Message)}


def message_name(payload: bytes) -> str:
    """A message is a msgpack array of less than 16, and its number comes first."""
    return _NAMES[payload[1]]
