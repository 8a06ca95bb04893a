"""The router that this machine's IPv4 packets go through, asked for a port mapping (`protocol/portmap.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from .protocol.portmap import SERVER_PORT, Mapped, PortMap

_ROUTES: Final = Path("/proc/net/route")
_UP_AND_GATEWAY: Final = 0x3


class Gateway(asyncio.DatagramProtocol):
    """Keeps a mapping of one UDP port; calls `changed` when it came, changed or went."""

    def __init__(self, port: int, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self._clock: Final = clock
        self._changed: Final = changed
        self._machine: Final = PortMap(port, os.urandom)
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def mapped(self) -> Mapped | None:
        return self._machine.mapped

    async def ask(self) -> None:
        """Begin anew, with the router that there is now."""
        self.close()
        router = default_gateway()
        if router is None:
            self._machine.end()
            return
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            sock.setblocking(False)
            sock.connect((str(router), SERVER_PORT))
            own = IPv4Address(sock.getsockname()[0])
            self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=sock)
        except OSError:
            sock.close()
            self._machine.end()
            return
        self._machine.begin(own, self._clock())
        self._wake()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()
        self._timer = self._transport = None

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        changed = self._machine.received(data, self._clock())
        self._wake()
        if changed:
            self._changed()

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there: the machine asks a few times more, and then much later."""

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is None:
            return
        now = self._clock()
        for request in self._machine.wake(now):
            with contextlib.suppress(OSError):
                self._transport.sendto(request)
        due = self._machine.next_wake()
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due - now), self._wake)


def default_gateway() -> IPv4Address | None:
    """The next hop of the IPv4 default route with the lowest metric."""
    found: list[tuple[int, IPv4Address]] = []
    try:
        lines = _ROUTES.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if len(fields) >= 8 and fields[1] == "00000000" and int(fields[3], 16) & _UP_AND_GATEWAY == _UP_AND_GATEWAY:
            found.append((int(fields[6]), IPv4Address(bytes.fromhex(fields[2])[::-1])))
    return min(found)[1] if found else None
