"""A tiny network in virtual time: link machines joined by datagrams with a delay; no clock, no socket, one seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.namespace import Namespace
from ipop_modules.tincan.frames import FRAME_HEADER, FRAME_HEADER_SIZE, Refusal
from ipop_modules.tincan.link.protocol.backlog import Backlog, Load, Parcel, Unsent
from ipop_modules.tincan.link.protocol.block import MAX_SEND
from ipop_modules.tincan.link.protocol.events import Endpoint, Event
from ipop_modules.tincan.link.protocol.handshake import Credentials
from ipop_modules.tincan.link.protocol.machine import LinkMachine, Node

OPEN = Namespace("test", "open", bytes(32))


def self_signed(key: ec.EllipticCurvePrivateKey, addresses: Sequence[str]) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
    )
    if addresses:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address)) for address in addresses])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


class Peer:
    """One machine, its address, and what it told."""

    def __init__(self, net: Net, host: str, addresses: Sequence[str], namespace: Namespace | None) -> None:
        self.net = net
        self.endpoint: Endpoint = (host, 4741)
        self.card: list[tuple[int, int, bytes]] = []
        self.trains: list[bytes] = []
        self.events: list[Event] = []
        self.backlog = Backlog()
        key = ec.derive_private_key(1 + int.from_bytes(net.random_bytes(24)), ec.SECP256R1())
        static = X25519PrivateKey.from_private_bytes(net.random_bytes(32))
        credentials = self.credentials = Credentials(key, self_signed(key, addresses), static)
        node = Node(
            node=credentials.node,
            credentials=credentials,
            namespace=namespace,
            cipher=AESGCM,
            unix_time=lambda: datetime.now(UTC).timestamp(),
        )
        self._node = node
        self.restart()
        self.id = credentials.node

    def restart(self) -> None:
        """Forget everything but the identity, as a process that was killed does."""
        self.machine = LinkMachine(
            self._node, self, self._deliver, self.net.random_bytes, deliver_train=self._deliver_train
        )

    longest = 65_507
    """The longest datagram that its own card takes."""
    is_full = False
    """Its socket takes nothing more."""

    def transmit(
        self, endpoint: Endpoint, buffers: Sequence[bytes | bytearray | memoryview], segment: int
    ) -> Unsent | None:
        if self.is_full:
            return Unsent.FULL
        data = b"".join(buffers)
        if min(segment, len(data)) > self.longest:
            return Unsent.TOO_LONG
        self.net.send(self.endpoint, endpoint, data, segment)
        return None

    def hold(
        self, endpoint: Endpoint, buffers: Sequence[bytes | bytearray | memoryview], segment: int, load: Load
    ) -> bool:
        return self.backlog.add(Parcel(endpoint, b"".join(buffers), segment, load), self.net.now)

    def drain(self) -> None:
        """There is room in its socket again."""
        self.is_full = False
        while (parcel := self.backlog.first()) is not None:
            step = parcel.segment * (MAX_SEND // parcel.segment)
            for at in range(0, len(parcel.data), step):
                self.transmit(parcel.endpoint, (parcel.data[at : at + step],), parcel.segment)
            self.backlog.remove()
        self.backlog.relieve()

    overflow = 0

    def address(self, endpoint: Endpoint) -> tuple[bytes, int]:
        return ip_address(endpoint[0]).packed, endpoint[1]

    def endpoint_at(self, ip: bytes, port: int) -> Endpoint | None:
        return str(ip_address(ip)), port

    def _deliver(self, offload: int, size: int, frame: memoryview) -> bool:
        self.card.append((offload, size, bytes(frame)))
        return True

    def _deliver_train(self, run: memoryview, refusal: Refusal) -> int:
        """Two frames of one length are a train here."""
        size = FRAME_HEADER_SIZE + FRAME_HEADER.unpack_from(run)[3]
        if run[:FRAME_HEADER_SIZE] != run[size:][:FRAME_HEADER_SIZE] or refusal(run[FRAME_HEADER_SIZE:size]):
            return 0
        self.trains.append(bytes(run[: 2 * size]))
        return 2 * size

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


class Net:
    def __init__(self, seed: int, delay: float = 0.01) -> None:
        print(f"seed {seed}")
        self.random = random.Random(seed)
        self.now = 100.0
        self.delay = delay
        self.peers: dict[Endpoint, Peer] = {}
        self.narrow = 65_507
        """The longest datagram that passes."""
        self.passes: Callable[[Endpoint, Endpoint], bool] = lambda source, target: True
        self.sent: list[tuple[float, Endpoint, Endpoint, bytes]] = []
        self._queue: list[tuple[float, int, Endpoint, Endpoint, bytes, int]] = []

    def random_bytes(self, size: int) -> bytes:
        return self.random.randbytes(size)

    def peer(self, host: str, addresses: Sequence[str] = (), namespace: Namespace | None = OPEN) -> Peer:
        peer = Peer(self, host, addresses, namespace)
        self.peers[peer.endpoint] = peer
        return peer

    def send(self, source: Endpoint, target: Endpoint, data: bytes, segment: int) -> None:
        self.sent.append((self.now, source, target, data))
        if min(segment, len(data)) > self.narrow:
            data = data[len(data) - len(data) % segment :]
            if not 0 < len(data) <= self.narrow:
                return
        if self.passes(source, target):
            heapq.heappush(self._queue, (self.now + self.delay, len(self.sent), source, target, data, segment))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._collect()
            wakes = [at for peer in self.peers.values() if (at := peer.machine.next_wake()) is not None]
            at = min([*wakes, self._queue[0][0] if self._queue else end + 1, end + 1])
            if at > end:
                self.now = end
                return
            self.now = max(self.now, at)
            while self._queue and self._queue[0][0] <= self.now:
                _, _, source, target, data, segment = heapq.heappop(self._queue)
                if target in self.peers:
                    machine = self.peers[target].machine
                    received = machine.receive_space[: len(data)]
                    received[:] = data
                    machine.receive(received, segment, source, self.now)
            for peer in self.peers.values():
                peer.machine.wake(self.now)

    def _collect(self) -> None:
        for peer in self.peers.values():
            peer.events += peer.machine.events
            peer.machine.events.clear()
