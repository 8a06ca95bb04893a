"""The router that this machine's IPv4 packets go through, asked for a port mapping (`protocol/portmap.py`).

Where it makes none by PCP or NAT-PMP, it is asked by UPnP (`upnp.py`), and again whenever those are tried again. tincan
names the router, at the start and whenever the machine has come to another one; only that router's own datagrams
are taken. At the end the mapping is given back, if the router answers at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any, Final

from .protocol.portmap import ANNOUNCEMENTS, SERVER_PORT, Mapped, PortMap
from .surroundings import Router
from .upnp import Upnp

log = logging.getLogger("ipop.tincan")

ENDING_DELAYS: Final = (0.15, 0.25)
"""Seconds to wait for the answer to each of the requests that end a mapping: a stop must not wait for a dead router."""


class Gateway(asyncio.DatagramProtocol):
    """Keeps a mapping of one UDP port; calls `changed` when it came, changed or went. `nonce` as in `PortMap`."""

    def __init__(self, port: int, nonce: bytes, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self._clock: Final = clock
        self._changed: Final = changed
        self._machine: Final = PortMap(port, nonce)
        self._asking: Final = asyncio.Lock()
        self._router: IPv4Address | None = None
        self._own: IPv4Address | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._announcements: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended: asyncio.Event | None = None
        self._told: tuple[bytes, int] | None = None
        self._upnp: Final = Upnp(port, clock)
        self._given_up = 0
        self._asking_upnp: asyncio.Task[None] | None = None
        self._fault = "not asked yet"

    @property
    def mapped(self) -> Mapped | None:
        return self._machine.mapped or self._upnp.mapped

    @property
    def fault(self) -> str | None:
        """Why there is no mapping, in one line; None where there is one."""
        if self.mapped is not None:
            return None
        if self._router is None:
            return self._fault
        by_others = self._machine.fault
        if not by_others:
            return f"the router, {self._router}, is being asked"
        by_upnp = f"UPnP: {self._upnp.fault}" if self._upnp.fault else "it is being asked by UPnP"
        return f"the router, {self._router}, makes none: {by_others}; {by_upnp}"

    async def ask(self, router: Router | None) -> None:
        """Begin anew, with the IPv4 router that there is now."""
        async with self._asking:
            self.close()
            self._machine.end()
            self._upnp.forget()
            self._fault = "no default route by an IPv4 router"
            if router is not None and isinstance(router.ip, IPv4Address):
                await self._begin(router.ip)
            self._tell()

    async def end(self) -> None:
        """Give the mapping back and close; it takes the sum of `ENDING_DELAYS` at the most."""
        self._cancel_timer()
        by_upnp = asyncio.ensure_future(self._upnp.end(sum(ENDING_DELAYS)))
        self._ended = asyncio.Event()
        for delay in ENDING_DELAYS:
            requests = self._machine.ending()
            if self._transport is None or not requests:
                break
            self._send(self._transport, requests)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), delay)
                break
        await by_upnp
        self.close()
        self._machine.end()

    def close(self) -> None:
        self._cancel_timer()
        if self._asking_upnp is not None:
            self._asking_upnp.cancel()
        for transport in (self._transport, self._announcements):
            if transport is not None:
                transport.close()
        self._transport = self._announcements = self._router = self._own = None

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if self._ended is not None:
            if self._machine.ended(data):
                self._ended.set()
            return
        self._machine.received(data, self._clock())
        self._wake()

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there: the machine asks a few times more, and then much later."""

    def announced(self, data: bytes, sender: str) -> None:
        """A datagram to everybody on this link came from `sender`; the router's own word is all that counts."""
        if sender == str(self._router) and self._ended is None:
            self._machine.announced(data, self._clock())
            self._wake()

    async def _begin(self, router: IPv4Address) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        loop = asyncio.get_running_loop()
        try:
            sock.setblocking(False)
            sock.connect((str(router), SERVER_PORT))
            own = IPv4Address(sock.getsockname()[0])
            self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=sock)
        except OSError as error:
            self._fault = f"the router, {router}, can't be asked: {error.strerror}"
            sock.close()
            return
        self._router, self._own = router, own
        try:
            # Bound to the group's own address, it gets nothing else; every computer is a member of this group.
            self._announcements, _ = await loop.create_datagram_endpoint(
                lambda: _Announcements(self), sock=_open_announcements()
            )
        except OSError as error:
            log.info("the router's announcements are not heard", extra={"fields": {"error": error.strerror}})
        self._machine.begin(own, self._clock())
        self._wake()

    def _wake(self) -> None:
        self._cancel_timer()
        if self._transport is None:
            return
        now = self._clock()
        self._send(self._transport, self._machine.wake(now))
        due = self._machine.next_wake()
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due - now), self._wake)
        self._try_upnp()
        self._tell()

    def _try_upnp(self) -> None:
        """Ask by UPnP when the router has just made no mapping by the other two."""
        before, self._given_up = self._given_up, self._machine.given_up
        running = self._asking_upnp is not None and not self._asking_upnp.done()
        if self._given_up == before or running or self._router is None or self._own is None:
            return
        self._asking_upnp = asyncio.get_running_loop().create_task(self._ask_upnp(self._router, self._own))

    async def _ask_upnp(self, router: IPv4Address, own: IPv4Address) -> None:
        await self._upnp.ask(router, own)
        self._tell()

    def _tell(self) -> None:
        mapped = self.mapped
        now = None if mapped is None else (mapped.ip, mapped.port)
        if now != self._told:
            self._told = now
            self._changed()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @staticmethod
    def _send(transport: asyncio.DatagramTransport, requests: list[bytes]) -> None:
        for request in requests:
            with contextlib.suppress(OSError):
                transport.sendto(request)


class _Announcements(asyncio.DatagramProtocol):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._gateway.announced(data, addr[0])


def _open_announcements() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(ANNOUNCEMENTS)
    except OSError:
        sock.close()
        raise
    return sock
