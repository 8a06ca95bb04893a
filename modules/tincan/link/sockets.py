"""The node's sockets: the one that has the node's port, and for a while those that a search through a NAT opened.

An endpoint of a further socket is one of the first socket with that socket's number behind it, so that the link
machine keeps the two apart without knowing what a socket is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

from ipop_core.errors import IpopError

from .loop import LaneCallback, add_lane, remove_lane
from .pressure import Pressure
from .protocol.backlog import Load, Unsent
from .protocol.block import Buffer
from .protocol.events import Endpoint
from .udp import UdpSocket

SWEEP: Final = 5.0

Server = Callable[[UdpSocket, int], LaneCallback]
"""Makes what serves a further socket, which has this number."""


class Sockets:
    """Implements the link machine's `Wire`. `used` tells which endpoints are still needed."""

    def __init__(self, main: UdpSocket, server: Server, used: Callable[[], set[Endpoint]], pressure: Pressure) -> None:
        self._main: Final = main
        self._server: Final = server
        self._used: Final = used
        self._pressure: Final = pressure
        self._length: Final = main.endpoint_length
        self._further: Final[dict[int, UdpSocket]] = {}
        self._enlarged: Final[set[int]] = set()
        """The further sockets that carry traffic, or did."""
        self._lost = 0
        """What those of them that are closed had no room for."""
        self._number = 0
        self._sweeping: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return 1 + len(self._further)

    @property
    def overflow(self) -> int:
        further = (sock.overflow for number, sock in self._further.items() if number in self._enlarged)
        return self._main.overflow + self._lost + sum(further)

    def enlarge(self, endpoint: Endpoint) -> None:
        """Traffic goes by this endpoint from now on: its socket gets buffers for that."""
        number = endpoint[-1] if len(endpoint) > self._length else None
        if number in self._further and number not in self._enlarged:
            self._enlarged.add(number)
            self._further[number].enlarge()

    def transmit(self, endpoint: Endpoint, buffers: Sequence[Buffer | bytearray], segment: int) -> Unsent | None:
        if len(endpoint) == self._length:
            return self._main.transmit(endpoint, buffers, segment)
        sock = self._further.get(endpoint[-1])
        if sock is None:
            self._main.counters["socket_closed"] += 1
            return None
        return sock.transmit(endpoint[:-1], buffers, segment)

    def hold(self, endpoint: Endpoint, buffers: Sequence[Buffer | bytearray], segment: int, load: Load) -> bool:
        is_main = len(endpoint) == self._length
        sock = self._main if is_main else self._further[endpoint[-1]]
        return self._pressure.hold(sock, endpoint[: self._length], buffers, segment, load)

    def address(self, endpoint: Endpoint) -> tuple[bytes, int]:
        return self._main.address(endpoint)

    def endpoint_at(self, ip: bytes, port: int) -> Endpoint | None:
        return self._main.endpoint(ip_address(ip), port)

    def branch(self, endpoint: Endpoint, count: int) -> Sequence[Endpoint]:
        """The same address by way of up to `count` new sockets; fewer where the system has no more to give."""
        loop = asyncio.get_running_loop()
        branches: list[Endpoint] = []
        for _ in range(count):
            number = self._number + 1
            try:
                sock = UdpSocket.open(0, small=True)
            except (IpopError, OSError):
                break
            try:
                add_lane(loop, sock.fileno(), self._server(sock, number))
            except OSError:
                sock.close()
                break
            self._number = number
            self._further[number] = sock
            branches.append((*endpoint[: self._length], number))
        if self._sweeping is None:
            self._sweeping = loop.call_later(SWEEP, self._sweep)
        return branches

    def close(self) -> None:
        """Close the further sockets; the first one is its opener's."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for number in list(self._further):
            self._close(number)
        self._pressure.close()

    def _sweep(self) -> None:
        needed = {endpoint[-1] for endpoint in self._used() if len(endpoint) > self._length}
        for number in self._further.keys() - needed:
            self._close(number)
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(SWEEP, self._sweep) if self._further else None

    def _close(self, number: int) -> None:
        sock = self._further.pop(number)
        if number in self._enlarged:
            self._enlarged.discard(number)
            self._lost += sock.overflow
        self._pressure.forget(sock)
        remove_lane(asyncio.get_running_loop(), sock.fileno())
        sock.close()
