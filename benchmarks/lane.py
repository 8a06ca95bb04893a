"""What a packet costs this project's own code, with no system call: `python -m benchmarks.lane`.

Link machines in one process, joined by function calls; frames go in at one and come out at the other, with the source
check. The bare cipher's time for the same bytes stands beside, since only ratios mean something on a busy machine.
With `--pause` each packet comes after a pause, as most do: the processor's caches have forgotten the code by then.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.identity import load_or_create
from ipop_core.namespace import Namespace
from ipop_modules.tincan.card.protocol.ethernet import mac_of
from ipop_modules.tincan.card.protocol.source import SourceCheck
from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.tincan.link.protocol.backlog import Load, Unsent
from ipop_modules.tincan.link.protocol.block import Buffer
from ipop_modules.tincan.link.protocol.events import Endpoint
from ipop_modules.tincan.link.protocol.handshake import Credentials
from ipop_modules.tincan.link.protocol.machine import LinkMachine, Node

_NAMESPACE: Final = Namespace("benchmark", "open", bytes(32))
_SIZES: Final = (98, 1242, 62_000)
"""An ICMP echo, a UDP datagram of 1,200 bytes, and a TCP super-frame, each with its Ethernet header."""
_DATAGRAM: Final = 1472
"""What a wire of 1,500 bytes carries in one datagram."""
_FULL: Final = 1400
_BATCH: Final = 200
_NONCE: Final = bytes(12)


Sent: TypeAlias = tuple[Endpoint, Endpoint, memoryview, int]
"""To, from, the datagrams, and the size of each."""


@dataclass
class Wire:
    """Queues datagrams for other machines: those of one send as a train, as UDP_GRO hands them over."""

    own: Endpoint
    queue: deque[Sent]
    overflow = 0

    def transmit(self, endpoint: Endpoint, buffers: Sequence[Buffer | bytearray], segment: int) -> Unsent | None:
        if segment <= _DATAGRAM:
            self.queue.append((endpoint, self.own, memoryview(b"".join(buffers)), segment))
        return None

    def hold(self, endpoint: Endpoint, buffers: Sequence[Buffer | bytearray], segment: int, load: Load) -> bool:
        raise NotImplementedError("there is always room")

    def address(self, endpoint: Endpoint) -> tuple[bytes, int]:
        return IPv4Address(endpoint[0]).packed, endpoint[1]

    def endpoint_at(self, ip: bytes, port: int) -> Endpoint | None:
        return str(IPv4Address(ip)), port

    def branch(self, endpoint: Endpoint, count: int) -> Sequence[Endpoint]:
        del endpoint, count
        return ()


class Net:
    """Machines that are one another's members: number 0 has a session with every other one."""

    def __init__(self, folder: Path, sessions: int) -> None:
        self.delivered = 0
        self._ahead = 0.0
        self._machines: dict[Endpoint, LinkMachine] = {}
        self._queue: deque[Sent] = deque()
        made = [self._machine(folder / str(number), number) for number in range(sessions + 1)]
        self.first, self.last = made[0], made[-1]
        for number, machine in enumerate(made[1:], 1):
            self.first.contact(_endpoint(number), machine.own, self.now())
            self.carry()
            for one, other in ((self.first, machine), (machine, self.first)):
                one.want_member(other.own, self.now())
                check = SourceCheck(mac_of(other.own), mac_of(one.own), [_address(0).packed])
                one.confirm_source(other.own, check, self.now())
        while not self._is_ready():
            planned = [at for machine in made if (at := machine.next_wake()) is not None]
            self._ahead += max(0.0, min(planned) - self.now())
            for machine in made:
                machine.wake(self.now())
                machine.events.clear()
                self.carry()

    def send(self, frame: bytes) -> None:
        """Send a frame from the first machine to the last, and all that follows from it."""
        self.first.send_card(self.last.own, frame, self.now())
        self.carry()

    def carry(self) -> None:
        """Hand over all that was sent, and what is sent in answer."""
        queue, machines = self._queue, self._machines
        while queue:
            target, source, train, segment = queue.popleft()
            machine = machines[target]
            received = machine.receive_space[: len(train)]
            received[:] = train
            machine.receive(received, min(segment, len(train)), source, self.now())

    def now(self) -> float:
        """The clock, which has jumped from one timer to the next while the machines found their path's size."""
        return time.monotonic() + self._ahead

    def frame(self, size: int) -> bytes:
        """A frame for the last machine, behind its header; an IPv4 packet that wants nothing of the card."""
        head = mac_of(self.last.own) + mac_of(self.first.own) + b"\x08\x00\x45" + bytes(11) + _address(0).packed
        return FRAME_HEADER.pack(CARD, 0, 0, size) + head + bytes(size - len(head))

    def _is_ready(self) -> bool:
        """The frames come out, and the path's size is nearly found."""
        self.delivered = 0
        self.send(self.frame(_SIZES[-1]))
        path = self.first.sessions[self.last.own].paths.active
        return bool(self.delivered) and path is not None and path.mtu.size > _FULL

    def _machine(self, folder: Path, number: int) -> LinkMachine:
        identity = load_or_create(folder)
        certificate = identity.certificate([_address(number)]).public_bytes(Encoding.DER)
        static = X25519PrivateKey.from_private_bytes(os.urandom(32))
        credentials = Credentials(identity.key, certificate, static)
        node = Node(
            node=identity.node,
            credentials=credentials,
            namespace=_NAMESPACE,
            cipher=AESGCM,
            unix_time=time.time,
        )
        machine = LinkMachine(node, Wire(_endpoint(number), self._queue), self._deliver, os.urandom)
        self._machines[_endpoint(number)] = machine
        return machine

    def _deliver(self, offload: int, size: int, frame: memoryview) -> bool:
        del offload, size, frame
        self.delivered += 1
        return True


def _endpoint(number: int) -> Endpoint:
    return (f"10.0.{number >> 8}.{number & 255}", 4741)


def _address(number: int) -> IPv4Address:
    return IPv4Address("10.98.0.1") + number


def main(argv: Sequence[str] | None = None) -> int:
    options = _options().parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        if options.pause:
            print(json.dumps(after_pauses(Net(Path(folder), 1), options.pause, options.repeats)))
            return 0
        nets = {count: Net(Path(folder) / str(count), count) for count in sorted({1, options.sessions})}
        results = {str(size): _compare(nets, size, options.repeats) for size in _SIZES}
    if options.json:
        print(json.dumps(results, indent=2))
        return 0
    for size, result in results.items():
        print(f"{size} bytes: " + ", ".join(f"{name} {value:.4g}" for name, value in result.items()))
    return 0


def after_pauses(net: Net, pause: float, repeats: int) -> dict[str, float]:
    """Median microseconds for the smallest packet, each part after so many seconds of sleep."""
    cipher, plain, frame = AESGCM(bytes(32)), bytes(_SIZES[0]), net.frame(_SIZES[0])
    sealed = cipher.encrypt(_NONCE, plain, None)
    parts: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "encrypt": lambda: cipher.encrypt(_NONCE, plain, None),
        "decrypt": lambda: cipher.decrypt(_NONCE, sealed, None),
        "send": lambda: net.first.send_card(net.last.own, frame, net.now()),
        "receive": net.carry,
    }
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            time.sleep(pause)
            start = time.perf_counter()
            part()
            times[name].append((time.perf_counter() - start) * 1e6)
    return {name: round(statistics.median(values), 1) for name, values in times.items()}


def _compare(nets: dict[int, Net], size: int, repeats: int) -> dict[str, float]:
    """Interleaved medians: microseconds a frame, and ratios."""
    cipher, plain = AESGCM(bytes(32)), bytes(size)

    def bare() -> None:
        cipher.decrypt(_NONCE, cipher.encrypt(_NONCE, plain, None), None)

    tasks: dict[int, Callable[[], None]] = {0: bare}
    for count, net in nets.items():
        tasks[count] = partial(net.send, net.frame(size))
    times: dict[int, list[float]] = {count: [] for count in tasks}
    for _ in range(repeats):
        for count, task in tasks.items():
            start = time.process_time()
            for _ in range(_BATCH):
                task()
            times[count].append((time.process_time() - start) / _BATCH * 1e6)
    medians = {count: statistics.median(values) for count, values in times.items()}
    result = {"cipher_us": medians[0], "lane_us": medians[1], "lane_to_cipher": medians[1] / medians[0]}
    return result | {f"with_{count}_sessions": medians[count] / medians[1] for count in nets if count > 1}


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lane", description=__doc__)
    parser.add_argument("--sessions", type=int, default=1, help="also with so many sessions, one of them busy (1)")
    parser.add_argument("--repeats", type=int, default=50, help="interleaved batches of 200 frames (50)")
    parser.add_argument("--pause", type=float, metavar="SECONDS", help="instead: single packets, each after a pause")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
