"""Traffic of which every byte is known: what came out of a tunnel that did not go in, or came out twice.

Both ends are sockets of this process, opened in the two namespaces, so the receiver knows what was sent. Datagrams are
numbered and have odd sizes, from one byte behind the number to twice the card's MTU, so that IP cuts some; others
leave as trains of equal ones, which the kernel cuts (UDP_SEGMENT). That tells loss, duplication and corruption apart.
A window of them is on the way at a time: nothing is lost because a socket was full.
"""

from __future__ import annotations

import hashlib
import os
import random
import select
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Final

from ipop_core.lab import LabError, Namespace

_HEAD: Final = Struct("!8sI")
SMALLEST: Final = _HEAD.size + 1
_UDP_SEGMENT: Final = 103
_SEGMENT: Final = Struct("=H")
_TRAIN_BYTES: Final = 60_000
_TRAIN_SEGMENTS: Final = 60
_WINDOW: Final = 24
_PATIENCE: Final = 0.4
_LINGER: Final = 0.05
"""Seconds after the last datagram in which a second copy of one may still come."""
_STALLED: Final = 10.0
_BUFFER: Final = 4 << 20
_SO_RCVBUFFORCE: Final = 33
_LONGEST: Final = 65_536


class Script:
    """What a flow sends: datagram `number` has `sizes[number]` bytes, which follow from the number and the flow."""

    def __init__(self, groups: list[list[int]], chance: random.Random) -> None:
        """`groups`: sizes of datagrams that leave together, all equal but for the last, which may be shorter."""
        self.groups = groups
        self.sizes = [size for group in groups for size in group]
        self._tag = chance.randbytes(8)
        self._noise = chance.randbytes(2 * _LONGEST)

    def datagram(self, number: int) -> bytes:
        size = self.sizes[number] - _HEAD.size
        start = number * 7919 % _LONGEST
        return _HEAD.pack(self._tag, number) + self._noise[start : start + size]

    def number_of(self, datagram: bytes) -> int | None:
        """Which one it is; None when it is none of these."""
        if len(datagram) < SMALLEST:
            return None
        tag, number = _HEAD.unpack_from(datagram)
        if tag != self._tag or number >= len(self.sizes) or datagram != self.datagram(number):
            return None
        return int(number)


def script(mtu: int, headers: int, count: int, chance: random.Random) -> Script:
    """`count` groups for a card of this MTU; `headers` are those of IP and UDP."""
    full = mtu - headers
    edges = [SMALLEST, full - 1, full, full + 1]
    singles = [[size] for size in edges]
    trains: list[list[int]] = []
    while len(singles) + len(trains) < count:
        if chance.random() < 0.5:
            singles.append([_odd(chance, SMALLEST, 2 * mtu)])
        else:
            size = _odd(chance, 200, full)
            many = chance.randint(2, min(_TRAIN_SEGMENTS, _TRAIN_BYTES // size))
            trains.append([size] * (many - 1) + [_odd(chance, SMALLEST, size)])
    groups = singles + trains
    chance.shuffle(groups)
    return Script(groups, chance)


def _odd(chance: random.Random, low: int, high: int) -> int:
    return min(chance.randrange(low, high) | 1, high)


@dataclass
class Tally:
    """What became of a flow's datagrams."""

    sent: int = 0
    duplicated: int = 0
    corrupt: int = 0
    arrived: set[int] = field(default_factory=set)

    @property
    def lost(self) -> int:
        return self.sent - len(self.arrived)

    def take(self, flow: Script, datagram: bytes) -> None:
        number = flow.number_of(datagram)
        if number is None:
            self.corrupt += 1
        elif number in self.arrived:
            self.duplicated += 1
        else:
            self.arrived.add(number)


@dataclass(frozen=True)
class End:
    """One end of a tunnel."""

    namespace: Namespace
    address: str


def send_datagrams(sender: End, receiver: End, flow: Script) -> Tally:
    """Send the whole script from one end to the other."""
    with _bound(receiver) as incoming, _bound(sender) as outgoing:
        outgoing.connect(incoming.getsockname())
        incoming.connect(outgoing.getsockname())
        tally = Tally()
        for group in flow.groups:
            numbers = range(tally.sent, tally.sent + len(group))
            _send(outgoing, [flow.datagram(number) for number in numbers], group[0])
            tally.sent += len(group)
            while tally.lost > _WINDOW and _receive(incoming, flow, tally, _PATIENCE):
                pass
        while tally.lost and _receive(incoming, flow, tally, _PATIENCE):
            pass
        while _receive(incoming, flow, tally, _LINGER):
            pass
        return tally


def send_file(sender: End, receiver: End, data: bytes) -> bool:
    """Send bytes over TCP; whether what arrived has their SHA-256. Raises LabError when they stop flowing."""
    family = _family(receiver.address)

    def listen() -> socket.socket:
        return socket.create_server((receiver.address, 0), family=family)

    with receiver.namespace.call(listen) as server, ThreadPoolExecutor(1) as pool:
        server.settimeout(_STALLED)
        arriving = pool.submit(_digest, server)
        target = (receiver.address, server.getsockname()[1])
        try:
            connect: Callable[[], socket.socket] = lambda: socket.create_connection(target, _STALLED)  # noqa: E731
            with sender.namespace.call(connect) as client:
                client.sendall(data)
            return arriving.result() == hashlib.sha256(data).digest()
        except OSError as error:
            raise LabError(f"TCP from {sender.address} to {receiver.address}: {error}") from error


def random_file(size: int) -> bytes:
    """An odd number of random bytes."""
    return os.urandom(size | 1)


def checksum_errors(namespace: Namespace) -> int:
    """Packets with a wrong checksum that the namespace's kernel has dropped: corruption that looks like loss."""
    return namespace.call(lambda: sum(_checksum_errors()))


def _checksum_errors() -> Iterator[int]:
    """By /proc/net/snmp (a line of names, then one of values) and /proc/net/snmp6 (a name and a value a line)."""
    folder = Path("/proc/thread-self/net")
    lines = [line.split() for line in (folder / "snmp").read_text(encoding="ascii").splitlines()]
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        yield from (int(value) for name, value in zip(names, values, strict=True) if name == "InCsumErrors")
    pairs = map(str.split, (folder / "snmp6").read_text(encoding="ascii").splitlines())
    yield from (int(value) for name, value in pairs if name.endswith("InCsumErrors"))


def _send(outgoing: socket.socket, datagrams: list[bytes], size: int) -> None:
    train = [(socket.IPPROTO_UDP, _UDP_SEGMENT, _SEGMENT.pack(size))] if len(datagrams) > 1 else []
    outgoing.sendmsg(datagrams, train)


def _receive(incoming: socket.socket, flow: Script, tally: Tally, patience: float) -> bool:
    """Take what has come; wait so many seconds for something; false when nothing came."""
    if not select.select([incoming], [], [], patience)[0]:
        return False
    try:
        while True:
            tally.take(flow, incoming.recv(_LONGEST, socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True


def _bound(end: End) -> socket.socket:
    def bind() -> socket.socket:
        sock = socket.socket(_family(end.address), socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        sock.bind((end.address, 0))
        return sock

    return end.namespace.call(bind)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _digest(server: socket.socket) -> bytes:
    connection, _ = server.accept()
    found = hashlib.sha256()
    with connection:
        connection.settimeout(_STALLED)
        while data := connection.recv(1 << 20):
            found.update(data)
    return found.digest()
