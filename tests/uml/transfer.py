"""A file that goes each way at once over TCP, and is compared with what arrives."""

from __future__ import annotations

import hashlib
import random
import socket
from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import Final

from ipop_core.lab import Namespace
from tests.uml.town import PATIENCE, eventually

PORT: Final = 7100
CHUNK: Final = 64 * 1024
PACE: Final = 500_000
"""Bytes a second each way: a kernel in a kernel has to serve more than this transfer."""
SO_MAX_PACING_RATE: Final = 47
SEGMENT: Final = slice(16, 20)
RETRANSMITTED: Final = slice(100, 104)
"""tcpi_snd_mss and tcpi_total_retrans in struct tcp_info (linux/tcp.h)."""
LEAST_SEGMENT: Final = 1300
"""Of full size: what a card of 1500 leaves behind the headers of IP, TCP and ESP."""


class Transfer:
    """Runs while its `with` block does, between the client and the server's address; then `check` what arrived.

    A side that gets no further for PATIENCE seconds fails.
    """

    def __init__(self, client: Namespace, server: Namespace, address: str, seed: int = 1) -> None:
        print(f"seed {seed}")
        with server.call(socket.socket) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, PORT))
            listener.listen()
            near = client.call(socket.socket)
            near.settimeout(PATIENCE)
            near.connect((address, PORT))
            far, _ = listener.accept()
        self._stop = Event()
        self._ends = [_End(near, self._stop, seed), _End(far, self._stop, -seed)]

    def __enter__(self) -> Transfer:
        for end in self._ends:
            end.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for end in self._ends:
            end.finish()

    @property
    def received(self) -> tuple[int, int]:
        """Bytes so far, at the client and at the server."""
        return self._ends[0].received, self._ends[1].received

    def check(self) -> None:
        near, far = self._ends
        for end in self._ends:
            assert end.fault is None, end.fault
            assert end.segment > LEAST_SEGMENT
        assert near.digests[0] == far.digests[1]
        assert far.digests[0] == near.digests[1]
        sizes = ", ".join(f"{end.received / 1e6:.1f} MB" for end in self._ends)
        again = " and ".join(str(end.retransmitted) for end in self._ends)
        print(f"transfer: {sizes} arrived intact, {again} segments were sent again")


def goes_on(transfer: Transfer) -> None:
    """Return once more has come to both ends."""
    before = transfer.received
    eventually(lambda: transfer.received, lambda now: now[0] > before[0] and now[1] > before[1])


class _End:
    def __init__(self, sock: socket.socket, stop: Event, seed: int) -> None:
        self._socket = sock
        self._stop = stop
        self._random = random.Random(seed)
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, PACE)
        self._hashes = hashlib.sha256(), hashlib.sha256()
        self._threads = [Thread(target=self._guarded, args=(work,)) for work in (self._send, self._receive)]
        self.received = 0
        self.segment = self.retransmitted = 0
        self.fault: OSError | None = None

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        for thread in self._threads:
            thread.join()
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        self.segment, self.retransmitted = (int.from_bytes(info[at], "little") for at in (SEGMENT, RETRANSMITTED))
        self._socket.close()

    @property
    def digests(self) -> tuple[str, str]:
        """Of what was sent and of what was received."""
        return self._hashes[0].hexdigest(), self._hashes[1].hexdigest()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            self.fault = error

    def _send(self) -> None:
        while not self._stop.is_set():
            chunk = self._random.randbytes(CHUNK)
            self._socket.sendall(chunk)
            self._hashes[0].update(chunk)
        self._socket.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        while chunk := self._socket.recv(CHUNK):
            self._hashes[1].update(chunk)
            self.received += len(chunk)
