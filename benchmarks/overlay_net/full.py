"""Whole nodes in virtual time: topology, rendezvous and link machines over a network's datagrams, with real keys.

Nothing of the links is a figure here, as it is in `thin.py`: handshakes, hole punching, keepalives, relaying and what
they cost are the product's. The network is a `World`: a node may be put behind a NAT before it makes contact with
anybody (`put_behind`). Left out are the card, the bus, port mappings by routers, multicast, and what a real node does
with too many visitors. `cipher` and the recipe's `verify` may be cheap ones for larger runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.overlay_net import thin
from benchmarks.overlay_net.first_contact import ANSWERED_WITHIN, KIND, Ended
from benchmarks.overlay_net.members import EPOCH, NAMESPACE_KEY, Recipe, cheap_verify
from benchmarks.overlay_net.waiting import Waiting
from ipop_core.lab.nat import NatKind
from ipop_core.namespace import Namespace
from ipop_core.simulated_nat import SimulatedNat
from ipop_modules.signal.protocol import rendezvous
from ipop_modules.signal.protocol.addresses import format_endpoint
from ipop_modules.signal.protocol.bootstrap import Bootstrap
from ipop_modules.signal.protocol.rendezvous import Nat, Rendezvous
from ipop_modules.tincan.actions import ANSWER_BEFORE
from ipop_modules.tincan.link.protocol import events
from ipop_modules.tincan.link.protocol.backlog import Load, Unsent
from ipop_modules.tincan.link.protocol.events import Endpoint, Event
from ipop_modules.tincan.link.protocol.handshake import Credentials
from ipop_modules.tincan.link.protocol.keys import Cipher
from ipop_modules.tincan.link.protocol.machine import LinkMachine
from ipop_modules.tincan.link.protocol.machine import Node as LinkNode
from ipop_modules.tincan.link.surroundings import Surroundings
from ipop_modules.tincan.meeting import Meeting
from ipop_modules.tincan.reach import Reach
from ipop_modules.topology.driver import CONNECT_SECONDS
from ipop_modules.topology.known import CONNECT_SECONDS as KNOWN_SECONDS
from ipop_modules.topology.known import HELD
from ipop_modules.topology.known import KIND as KNOWN
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
    Weigh,
)
from ipop_modules.topology.protocol.records import verify_p256

PORT = 4741
FURTHER = 20_000
"""The port of a node's further socket 0."""
HEADERS = 28
"""Bytes of IP and UDP around a datagram."""
LINKED_WITHIN = CONNECT_SECONDS - ANSWER_BEFORE
"""Seconds that the links have to make one for the topology: then it has failed."""
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256 (SEC 2, section 2.4.2): private keys are below it."""


class Socket:
    """The way out of one node, what `link/sockets.py` is in the product; a further one's endpoints have its number."""

    overflow = 0
    port = PORT
    endpoint_length = 2

    def __init__(self, network: Network, host: str) -> None:
        self._network = network
        self._host = host
        self._further = 0

    def transmit(
        self, endpoint: Endpoint, buffers: Sequence[bytes | bytearray | memoryview], segment: int
    ) -> Unsent | None:
        port = PORT if len(endpoint) == self.endpoint_length else FURTHER + endpoint[-1]
        self._network.send((self._host, port), (endpoint[0], endpoint[1]), b"".join(buffers), segment)
        return None

    def hold(
        self, endpoint: Endpoint, buffers: Sequence[bytes | bytearray | memoryview], segment: int, load: Load
    ) -> bool:
        raise NotImplementedError("there is always room")

    def address(self, endpoint: Endpoint) -> tuple[bytes, int]:
        return ip_address(endpoint[0]).packed, endpoint[1]

    def endpoint(self, ip: IPv4Address | IPv6Address, port: int) -> Endpoint | None:
        return (str(ip), port) if isinstance(ip, IPv4Address) else None

    def endpoint_at(self, ip: bytes, port: int) -> Endpoint | None:
        return self.endpoint(ip_address(ip), port)

    def branch(self, endpoint: Endpoint, count: int) -> Sequence[Endpoint]:
        numbers = range(self._further, self._further + count)
        self._further += count
        for number in numbers:
            self._network.listen((self._host, PORT), FURTHER + number, number)
        return [(*endpoint[: self.endpoint_length], number) for number in numbers]


@dataclass(kw_only=True)
class Node(thin.Node):
    endpoint: Endpoint
    transport: LinkMachine
    reach: Reach
    meeting: Meeting
    rendezvous: Rendezvous
    waiting: Waiting
    """For direct links to nodes, and for whoever answers at an endpoint."""
    wake_at: float | None = None
    """When the links or the rendezvous want to be woken next."""


class Network(thin.Network):
    def __init__(
        self,
        seed: int,
        loss: float = 0.0,
        *,
        latency: float = 0.02,
        recipe: Recipe | None = None,
        cipher: Callable[[bytes], Cipher] = AESGCM,
    ) -> None:
        super().__init__(seed, loss, latency=latency, recipe=recipe or Recipe(verify=verify_p256))
        self._cipher = cipher
        self._by_endpoint: dict[Endpoint, Node] = {}
        self._first = IPv4Address("10.128.0.1")

    # Building.

    def add(self, *, member: bool = True, key: bytes | None = None, namespace: bytes = NAMESPACE_KEY) -> Node:
        """`key` is not for whole nodes: they have real ones."""
        number = 1 + int.from_bytes(self.chance.randbytes(40), "big") % (_ORDER - 1)
        private = ec.derive_private_key(number, ec.SECP256R1())
        static = X25519PrivateKey.from_private_bytes(self.chance.randbytes(32))
        credentials = Credentials(private, _certificate(private), static)
        public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        host = IPv4Address(self._first + len(self.nodes))
        endpoint: Endpoint = (str(host), PORT)
        socket = Socket(self, str(host))
        transport = LinkMachine(
            LinkNode(
                node=credentials.node,
                credentials=credentials,
                namespace=Namespace("benchmark", "open", namespace) if member else None,
                cipher=self._cipher,
                unix_time=lambda: EPOCH + self.now,
            ),
            socket,
            lambda offload, size, frame: self.delivered(endpoint, frame),
            self.chance.randbytes,
        )
        reach = Reach(socket, lambda: self.now, lambda: None)
        reach.surroundings = Surroundings((host,))
        machine = self.recipe.machine(
            credentials.node,
            public if member else None,
            self.chance.randbytes,
            self.now,
            namespace=namespace,
            sign=None if self.recipe.verify is cheap_verify else partial(_sign, private),
        )
        node = Node(
            credentials.node,
            machine,
            transport.routes,
            endpoint=endpoint,
            transport=transport,
            reach=reach,
            meeting=Meeting(transport, reach),
            rendezvous=Rendezvous(self.chance.randbytes, self.now),
            waiting=Waiting(self),
        )
        self.nodes[node.id] = self._by_endpoint[endpoint] = node
        self._know_peers(node)
        self.listen(endpoint, PORT, None)
        self._set_timer(node)
        return node

    def put_behind(self, node: thin.Node, kind: NatKind, public: str) -> SimulatedNat:
        """Put a node behind a router of its own, whose outer address is `public`."""
        router = SimulatedNat(kind, public, self.chance)
        self.nats.put(whole(node).endpoint[0], router)
        return router

    def listen(self, endpoint: Endpoint, port: int, number: int | None) -> None:
        """Hand what comes to a port to the node at `endpoint`, by its further socket of that number."""
        node = self._by_endpoint[endpoint]
        way = () if number is None else (number,)
        self.attach(
            (endpoint[0], port), lambda data, segment, source: self._datagram(node, (*source, *way), data, segment)
        )

    def delivered(self, endpoint: Endpoint, frame: memoryview) -> bool:
        """An Ethernet frame has come to the card of the node at `endpoint`: there is none here."""
        return True

    def bootstrap(self, node: thin.Node) -> Bootstrap:
        host, port = whole(node).endpoint[:2]
        return Bootstrap(f"{host}:{port}", host, port)

    def kill(self, node: thin.Node) -> None:
        """Its neighbours find out as they would."""
        self._stop(node)

    def split(self, *islands: Collection[bytes]) -> None:
        """No datagram passes between these nodes any more, wherever they are; links across end as they find out."""
        self.weather.split(*({whole(self.nodes[node]).endpoint[0] for node in island} for island in islands))

    def leave(self, node: thin.Node) -> None:
        here = whole(node)
        self.perform(here, here.machine.withdraw(self.now))
        here.transport.close(self.now)
        self._settle(here)
        self._stop(here)

    def spent(self) -> dict[str, int]:
        """Bytes that were sent so far: whole nodes send what their links cost, too."""
        return {"datagrams": self.bytes_sent + HEADERS * self.datagrams_sent}

    # What machines ask for.

    def perform(self, node: thin.Node, effects: list[Effect]) -> None:
        here = whole(node)
        for effect in effects:
            match effect:
                case Send():
                    self._send(here, effect)
                case Connect():
                    self._want(here, effect)
                case Release():
                    self.release(here, effect.node, effect.kind)
                case Weigh():
                    self.after(0.0, self._weigh, here)
                case Introduce(newcomer, members):
                    peers = self.known[here.id].introduction(members)
                    self.perform(here, here.machine.introduce(newcomer, peers, self.now))
                case Introduced(peers):
                    self.known[here.id].introduced(peers)
                case Routes():
                    here.transport.set_routes(effect.hops, member=effect.member)
                case Joined() | Registered() | Allocated() | Resolved() | Listed() | Surveyed():
                    here.events.append(effect)
        self._set_timer(here)
        self._settle(here)

    def _send(self, node: Node, send: Send) -> None:
        self.sent += 1
        if send.mode == "link":
            node.transport.send_role(send.to, "topology", send.payload, self.now, direct_only=True)
        else:
            closest = send.mode == "closest"
            node.transport.send_routed(send.to, "topology", send.payload, self.now, closest=closest, via=send.via)

    # What modules ask of the links: the module's `actions.py`.

    def dial(self, node: thin.Node, bootstrap: Bootstrap, ended: Ended) -> None:
        here, endpoint = whole(node), (bootstrap.host, bootstrap.port)

        def answered(other: bytes | None, fault: str) -> None:
            if other is not None:
                here.transport.want(other, KIND, self.now)
            ended(other, fault)

        here.waiting.add(endpoint, ANSWERED_WITHIN, answered)
        here.transport.contact(endpoint, None, self.now)
        self._settle(here)

    def _ask_known_peer(self, node: thin.Node, other: bytes, endpoint: str) -> None:
        here, (host, port) = whole(node), endpoint.rsplit(":", 1)
        place: Endpoint = (host, int(port))

        def answered(found: bytes | None, _: str) -> None:
            if found is not None and here.alive:
                here.transport.want(found, KNOWN, self.now)
                self.after(HELD, self.release, here, found, KNOWN)

        here.waiting.add(place, KNOWN_SECONDS - ANSWER_BEFORE, answered)
        here.transport.contact(place, other, self.now)
        self._settle(here)

    def confirm(self, node: thin.Node, other: bytes, ended: Ended) -> None:
        self._link_to(whole(node), other, KIND, None, ANSWERED_WITHIN, ended)

    def release(self, node: thin.Node, other: bytes, kind: str) -> None:
        here = whole(node)
        here.transport.release(other, kind, self.now)
        self._settle(here)

    def _link_to(self, node: Node, other: bytes, kind: str, via: bytes | None, seconds: float, ended: Ended) -> None:
        node.transport.connect(other, kind, via, self.now)
        node.waiting.add(other, seconds, ended)
        session = node.transport.sessions.get(other)
        if session is not None and session.direct:
            self.after(0.0, node.waiting.made, other, other)
        self._settle(node)

    def _want(self, node: Node, wish: Connect) -> None:
        self.attempts[wish.node] += 1

        def ended(other: bytes | None, _: str) -> None:
            if not node.alive:
                return
            if other is not None:
                self._note_known(node, other, {wish.kind})
                self.perform(node, node.machine.link_up(other, self.now, initiator=True))
            else:
                self.perform(node, node.machine.connect_failed(wish.node, wish.kind, self.now))

        self._link_to(node, wish.node, wish.kind, wish.via, LINKED_WITHIN, ended)

    def _note_known(self, node: Node, other: bytes, kinds: Collection[str]) -> None:
        session = node.transport.sessions.get(other)
        path = session.paths.active if session is not None else None
        if path is not None:
            self.known[node.id].note(other, format_endpoint(*path.endpoint[:2]), kinds)

    def _weigh(self, node: Node) -> None:
        sent = {other: session.counters.bytes_out for other, session in node.transport.sessions.items()}
        self.perform(node, node.machine.weigh(sent, self.now))

    # What the links tell.

    def _settle(self, node: Node) -> None:
        told = node.transport.events
        while told:
            taken = list(told)
            told.clear()
            for event in taken:
                self._take(node, event)
        times = [time for time in (node.transport.next_wake(), node.rendezvous.next_wake()) if time is not None]
        due = min(times, default=None)
        if due is not None and (node.wake_at is None or due < node.wake_at):
            node.wake_at = due
            self.after(due - self.now, self._tend, node, due)

    def _tend(self, node: Node, due: float) -> None:
        if node.wake_at == due:
            node.wake_at = None
            if node.alive:
                node.transport.wake(self.now)
                self._offer(node, node.rendezvous.wake(self.now))
                self._settle(node)

    def _take(self, node: Node, event: Event) -> None:
        match event:
            case events.RoleData():
                self._message(node, event)
            case events.LinkUp():
                node.links.add(event.node)
                node.rendezvous.link_up(event.node.hex())
                session = node.transport.sessions.get(event.node)
                kinds = set() if session is None else set(session.kinds)
                self._note_known(node, event.node, kinds)
                initiator = event.initiator or bool(kinds)
                self.perform(node, node.machine.link_up(event.node, self.now, initiator=initiator))
                node.waiting.made(event.node, event.node)
            case events.LinkDown(other, reason):
                node.links.discard(other)
                self.perform(node, node.machine.link_down(other, self.now))
                self.known[node.id].link_down()
                if node.contacts is not None:
                    node.contacts.link_down(other, reason)
            case events.Contacted(other, endpoint):
                node.waiting.made(endpoint, other)
            case events.ConnectFailed(failed, endpoint, reason):
                node.waiting.failed(endpoint, reason)
                if failed is not None and failed not in node.transport.sessions:
                    node.waiting.failed(failed, reason)
            case events.SessionClosed(other, reason):
                node.waiting.failed(other, reason)
            case events.DirectWanted(other):
                self.perform(node, node.machine.demand(other, self.now))
            case events.CardIdle(other):
                self.perform(node, node.machine.idle(other, self.now))
            case events.Observed(_, endpoint, ip, port):
                node.reach.observed(endpoint, (ip, port))
            case events.RendezvousWanted(other):
                own, nat = self._own(node, other)
                self._offer(node, node.rendezvous.want(other.hex(), own, self.now, nat))
            case _:
                pass

    def _message(self, node: Node, message: events.RoleData) -> None:
        proven = message.to is None
        if message.role == "topology":
            source = Source(message.sender, proven, message.link or message.sender)
            self.perform(node, node.machine.receive(bytes(message.data), source, self.now))
        elif proven:
            own, nat = self._own(node, message.sender)
            sender, data = message.sender.hex(), bytes(message.data)
            self._offer(node, node.rendezvous.receive(sender, data, own, self.now, nat))

    def _own(self, node: Node, other: bytes) -> tuple[Sequence[str], Nat]:
        """What the links say of themselves for another node."""
        offer = node.meeting.offer(other, self.now)
        return offer["candidates"], Nat(**offer["nat"])

    def _offer(self, node: Node, effects: list[rendezvous.Effect]) -> None:
        for effect in effects:
            other = bytes.fromhex(effect.node)
            if isinstance(effect, rendezvous.Send):
                node.transport.send_role(other, "signal", effect.data, self.now)
            else:
                nat = asdict(effect.nat)
                node.meeting.attempt(other, effect.endpoints, nat, self.now, early=effect.early)

    def _datagram(self, node: Node, source: Endpoint, data: bytes, segment: int) -> None:
        if node.alive:
            node.transport.receive(memoryview(data), segment, source, self.now)
            self._settle(node)


def whole(node: thin.Node) -> Node:
    if not isinstance(node, Node):
        raise TypeError("a node of the thin model among whole ones")
    return node


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def _certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The node's own, as it is where there is no authority (DER)."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
    start = datetime.fromtimestamp(EPOCH, UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=365))
    return builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)
