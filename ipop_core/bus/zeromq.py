"""The bus between processes: a ROUTER in the controller, a DEALER in each module and in each command, over `ipc://`.

The sockets are read through their descriptor (`zmq.FD`) in any asyncio loop that has `add_reader`. That descriptor is
edge-triggered and sending uses up its edge too, so after every send the socket is looked at again.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import zmq

from ipop_core.bus.client import GRACE, BusClient
from ipop_core.bus.contracts import HEARTBEAT, Contracts
from ipop_core.bus.envelope import MAX_ENVELOPE
from ipop_core.bus.hub import Hub, Sent
from ipop_core.errors import BusError, IpopError

HIGH_WATER: Final = 512
"""Messages that may wait in each direction of a connection."""
CONNECT_TIMEOUT: Final = 0.8
_BATCH: Final = 64
"""Messages taken in one turn of the loop, so that a flood leaves time for the rest."""


class _Reader:
    """Calls `take` with every message of a socket, in the running event loop."""

    def __init__(self, sock: zmq.Socket[bytes], take: Callable[[list[bytes]], None]) -> None:
        self._socket = sock
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._fd = int(sock.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self._drain)
        self.look()

    def look(self) -> None:
        """The edge may have been used up: look at the socket in the loop's next turn."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._drain)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        self._socket.close(linger=0)

    def _drain(self) -> None:
        self._scheduled = False
        for _ in range(_BATCH):
            if self._socket.closed:
                return
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._take(parts)
        self.look()


class RouterLine:
    """The controller's end: every client that is not in the controller's own process hangs on it."""

    def __init__(self, hub: Hub, path: Path) -> None:
        """Raises IpopError when the socket can't be made. The folder of `path` must be the owner's alone."""
        self._hub = hub
        self._path = path
        self._context: zmq.Context[Any] = zmq.Context(io_threads=1)
        sock = _configured(self._context.socket(zmq.ROUTER))
        sock.setsockopt(zmq.ROUTER_HANDOVER, 1)
        sock.setsockopt(zmq.ROUTER_MANDATORY, 1)
        try:
            sock.bind(f"ipc://{path}")
        except zmq.ZMQError as error:
            sock.close()
            raise IpopError(f"{path}: the bus can't listen there: {error}") from None
        path.chmod(0o600)
        self._socket = sock
        self._reader = _Reader(sock, self._take)
        hub.attach_default(self._send)

    def close(self) -> None:
        self._reader.close()
        self._context.term()
        self._path.unlink(missing_ok=True)

    def _take(self, parts: list[bytes]) -> None:
        self._hub.receive(parts[0], parts[1:])

    def _send(self, client: bytes, parts: Sequence[bytes]) -> Sent:
        try:
            self._socket.send_multipart([client, *parts], zmq.NOBLOCK)
        except zmq.Again:
            return Sent.QUEUE_FULL
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return Sent.GONE
            raise
        self._reader.look()
        return Sent.OK


class DealerTransport:
    """A client's end, over ZeroMQ. `identity` is the secret name under which the controller expects a module."""

    def __init__(self, path: Path, identity: bytes | None = None) -> None:
        self._context: zmq.Context[Any] = zmq.Context(io_threads=1)
        self._socket = _configured(self._context.socket(zmq.DEALER))
        if identity is not None:
            self._socket.setsockopt(zmq.ROUTING_ID, identity)
        self._socket.connect(f"ipc://{path}")
        self._reader: _Reader | None = None

    def open(self, receive: Callable[[Sequence[bytes]], None]) -> None:
        self._reader = _Reader(self._socket, receive)

    def send(self, parts: Sequence[bytes]) -> bool:
        if self._socket.closed:
            return False
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK)
        except zmq.Again:
            return False
        if self._reader is not None:
            self._reader.look()
        return True

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._socket.close(linger=0)
        self._context.term()


@contextlib.asynccontextmanager
async def connect_client(path: Path, contracts: Contracts) -> AsyncIterator[BusClient]:
    """A guest on the bus of a running controller, for commands; IpopError within a second when nobody answers."""
    _knock(path)
    client = BusClient(DealerTransport(path), contracts)
    try:
        try:
            await client.request("core", HEARTBEAT, timeout=CONNECT_TIMEOUT - GRACE)
        except BusError as error:
            raise IpopError(f"{path}: the controller does not answer: {error.message}") from None
        yield client
    finally:
        await client.close()


def _knock(path: Path) -> None:
    """Ask the kernel whether anybody listens: it knows at once, ZeroMQ would try for ever."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(CONNECT_TIMEOUT)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise IpopError(f"{path}: no controller is running there") from None
        except OSError as error:
            raise IpopError(f"{path}: can't reach the controller: {error.strerror or error}") from None


def _configured(sock: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    sock.setsockopt(zmq.LINGER, 0)
    sock.setsockopt(zmq.SNDHWM, HIGH_WATER)
    sock.setsockopt(zmq.RCVHWM, HIGH_WATER)
    sock.setsockopt(zmq.MAXMSGSIZE, MAX_ENVELOPE)
    return sock
