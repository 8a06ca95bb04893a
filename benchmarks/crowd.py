"""Many peers of one node, played by one process: `python -m benchmarks.crowd COUNT HOST:PORT NAMESPACE`.

Each is a link machine of its own with a UDP socket of its own. It makes a direct session with the node, proves to be a
member of the open namespace, and keeps the link alive as idle peers do. It has no card, and says to the node's ring
that it is no member. When all sessions are there, READY is printed; the process then plays on until it is killed.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import starmap
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.clock import boot_clock
from ipop_core.identity import load_or_create
from ipop_core.namespace import Namespace, NamespaceSettings, build_namespace
from ipop_modules.tincan.link.pressure import Pressure
from ipop_modules.tincan.link.protocol.events import Contacted, Endpoint, RoleData
from ipop_modules.tincan.link.protocol.handshake import Credentials
from ipop_modules.tincan.link.protocol.machine import LinkMachine, Node
from ipop_modules.tincan.link.protocol.path import KEEPALIVE
from ipop_modules.tincan.link.sockets import Sockets
from ipop_modules.tincan.link.udp import UdpSocket, read_endpoint
from ipop_modules.topology.protocol.messages import Hello, decode, encode

READY: Final = "ready"
AT_ONCE: Final = 16
"""Handshakes under way: fewer than make the node ask strangers for proofs of their address."""
KIND: Final = "crowd"
RING: Final = "topology"
_DESCRIPTORS: Final = 64
"""Beside the sockets."""


class Peer:
    """One of the crowd; `joined` is done once the node knows it as a member on a direct path."""

    def __init__(self, node: Node) -> None:
        loop = asyncio.get_running_loop()
        self.joined: Final[asyncio.Future[None]] = loop.create_future()
        self._udp: Final = UdpSocket.open(0, small=True)
        pressure = Pressure(boot_clock, lambda _is_paused: None)
        sockets = Sockets(self._udp, lambda _sock, _number: bool, set, pressure)
        self._machine: Final = LinkMachine(node, sockets, lambda _offload, _size, _frame: False, os.urandom)
        self._timer: asyncio.TimerHandle | None = None
        loop.add_reader(self._udp.fileno(), self._receive)

    @property
    def port(self) -> int:
        return self._udp.port

    @property
    def members(self) -> int:
        """Peers that have proved to be members, and have a direct path."""
        return sum(session.member and session.direct for session in self._machine.sessions.values())

    async def join(self, target: Endpoint) -> None:
        self._machine.contact(target, None, boot_clock())
        self._settle()
        await self.joined

    def endpoint(self, text: str) -> Endpoint:
        endpoint = self._udp.endpoint(*read_endpoint(text))
        assert endpoint is not None
        return endpoint

    def _receive(self) -> None:
        space = self._machine.receive_space
        while (got := self._udp.receive(space)) is not None:
            filled, segment, endpoint = got
            if filled:
                self._machine.receive(space[:filled], segment, endpoint, boot_clock())
        self._settle()

    def _wake(self) -> None:
        self._machine.wake(boot_clock())
        self._settle()

    def _settle(self) -> None:
        machine, now = self._machine, boot_clock()
        for event in machine.events:
            if isinstance(event, Contacted):
                machine.want(event.node, KIND, now)
                machine.want_member(event.node, now)
            elif isinstance(event, RoleData) and isinstance(hello := decode(event.data), Hello) and hello.ask:
                machine.send_role(event.sender, RING, encode(Hello(False, 0, (), False)), now)
        machine.events.clear()
        if not self.joined.done() and self.members:
            self.joined.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
        due = machine.next_wake()
        delay = None if due is None else max(due - now, 0.0)
        self._timer = None if delay is None else asyncio.get_running_loop().call_later(delay, self._wake)


async def gather(count: int, target: str, namespace: Namespace, folder: Path, seconds: float = KEEPALIVE) -> list[Peer]:
    """So many peers, each in session with the node at that UDP address; their keys go into `folder`.

    They come in the course of so many seconds, so that their keepalives come evenly, too.
    """
    free = asyncio.Semaphore(AT_ONCE)
    peers = [Peer(node_in(folder / str(number), namespace)) for number in range(count)]

    async def join(number: int, peer: Peer) -> None:
        await asyncio.sleep(number * seconds / count)
        async with free:
            await peer.join(peer.endpoint(target))

    await asyncio.gather(*starmap(join, enumerate(peers)))
    return peers


def node_in(folder: Path, namespace: Namespace) -> Node:
    identity = load_or_create(folder)
    static = X25519PrivateKey.from_private_bytes(os.urandom(32))
    credentials = Credentials(identity.key, identity.certificate([]).public_bytes(Encoding.DER), static)
    return Node(node=identity.node, credentials=credentials, namespace=namespace, cipher=AESGCM, unix_time=time.time)


async def play(count: int, target: str, namespace: Namespace, folder: Path) -> None:
    _peers = await gather(count, target, namespace, folder)
    print(READY, flush=True)
    await asyncio.get_running_loop().create_future()


def main(argv: Sequence[str]) -> None:
    count, target, name = argv
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(int(count) + _DESCRIPTORS, hard), hard))
    with tempfile.TemporaryDirectory() as folder:
        namespace = build_namespace(NamespaceSettings(name=name))
        asyncio.run(play(int(count), target, namespace, Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
