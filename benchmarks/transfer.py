"""One TCP connection that carries known bytes while networks change under it.

Both ends are sockets of this process, opened in the two namespaces.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import Final

from ipop_core.lab import Namespace

PORT: Final = 7300
_PIECE: Final = 8192
_INTERVAL: Final = 0.02
"""Some 3 Mbit/s: enough that there is always something on the way."""
_PATIENCE: Final = 60.0


class Transfer:
    """Sends from one namespace to an address in another while its `with` block runs; `fault` is known afterwards."""

    def __init__(self, sender: Namespace, receiver: Namespace, address: str) -> None:
        self._sender: Final = sender
        self._receiver: Final = receiver
        self._address: Final = address
        self._going: Final = Event()
        self._ended: Final = Event()
        self._sent: Final = hashlib.sha256()
        self._arrived: Final = hashlib.sha256()
        self.sent = self.arrived = 0
        """Bytes."""
        self.fault = ""
        """Why not everything arrived; empty when it did, over the one connection."""

    def __enter__(self) -> Transfer:
        listening = self._receiver.call(lambda: socket.create_server((self._address, PORT)))
        listening.settimeout(_PATIENCE)
        self._pool = ThreadPoolExecutor(2)
        self._going.set()
        self._ends: list[Future[None]] = [
            self._pool.submit(self._take, listening),
            self._pool.submit(self._send),
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._going.set()
        for end in self._ends:
            try:
                end.result(timeout=2 * _PATIENCE)
            except OSError as fault:
                self.fault = self.fault or f"the connection broke: {fault}"
        self._pool.shutdown()
        if not self.fault and self._arrived.digest() != self._sent.digest():
            self.fault = f"{self.arrived} bytes arrived, not the {self.sent} that were sent"

    def pause(self) -> None:
        """Send nothing until `resume`; the connection stays open."""
        self._going.clear()

    def resume(self) -> None:
        self._going.set()

    def _send(self) -> None:
        with self._sender.call(lambda: socket.create_connection((self._address, PORT), _PATIENCE)) as connection:
            while not self._ended.is_set():
                piece = os.urandom(_PIECE)
                connection.sendall(piece)
                self._sent.update(piece)
                self.sent += len(piece)
                time.sleep(_INTERVAL)
                self._going.wait()

    def _take(self, listening: socket.socket) -> None:
        with listening:
            connection, _ = listening.accept()
        with connection:
            # Nothing comes for as long as a pause takes.
            connection.settimeout(2 * _PATIENCE)
            while piece := connection.recv(1 << 16):
                self._arrived.update(piece)
                self.arrived += len(piece)
