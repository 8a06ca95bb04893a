"""A port mapping by UPnP IGD (WANIPConnection, AddPortMapping), for routers that know neither PCP nor NAT-PMP.

`gateway.py` asks for it when those came to nothing. The library speaks to the router over TCP and waits for it, so that
is done in threads that nobody waits for longer than he wants to: neither a start nor a stop, nor the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from threading import Event, Thread
from typing import Any, Final, TypeVar

from .protocol.portmap import LIFETIME, Mapped
from .protocol.ssdp import GROUP, SSDP_PORT, leads_to, location, search

log = logging.getLogger("ipop.tincan")

T = TypeVar("T")

SEARCHES: Final = (0.5, 1.5)
"""Seconds to wait for the answer to each search."""
OTHER_PORTS: Final = 2
"""How many other ports are asked for where another computer has the node's own one."""
_ONLY_FOR_EVER: Final = "OnlyPermanentLeasesSupported"
_TAKEN: Final = ("ConflictInMappingEntry", "ConflictWithOtherMechanisms")


class UpnpError(Exception):
    """The router made no mapping: says in a line why."""


@dataclass(frozen=True)
class _Made:
    """What the router was asked for, by what ends it."""

    location: str
    outer_port: int


class Upnp:
    """A mapping of one UDP port, and `mapped`, what is known of it. `clock` as in `gateway.py`."""

    def __init__(self, port: int, clock: Callable[[], float]) -> None:
        self._port: Final = port
        self._clock: Final = clock
        self._made: _Made | None = None
        self._ended = Event()
        self.mapped: Mapped | None = None
        self.fault = ""
        """Why there is none, once that is known."""

    async def ask(self, router: IPv4Address, own: IPv4Address) -> None:
        """Ask this router for the mapping, or to go on with it; `own` is this node's address on its network."""
        try:
            found = await _find(router, own)
            if found is None:
                raise UpnpError("no answer")
            ended, port = self._ended, self._port
            made, ip = await _in_thread(lambda: _map(found, router, own, port, ended))
        except (UpnpError, OSError) as error:
            self.mapped, self.fault = None, str(error)
            log.debug("no UPnP port mapping", extra={"fields": {"router": str(router), "fault": str(error)}})
            return
        self._made, self.fault = made, ""
        self.mapped = Mapped("upnp", ip.packed, made.outer_port, self._clock() + LIFETIME)

    def forget(self) -> None:
        """This node is at another router, which knows nothing of the mapping."""
        self._ended.set()
        self._ended = Event()
        self._made = self.mapped = None
        self.fault = ""

    async def end(self, patience: float) -> None:
        """Give the mapping back, if the router does that within so many seconds."""
        made = self._made
        self.forget()
        if made is not None:
            with contextlib.suppress(UpnpError, TimeoutError):
                await asyncio.wait_for(_in_thread(lambda: _unmap(made)), patience)


async def _find(router: IPv4Address, own: IPv4Address) -> str | None:
    """Where the router describes itself; None when it says nothing."""
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        sock.bind((str(own), 0))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own.packed)
        answers = _Answers(router)
        transport, _ = await loop.create_datagram_endpoint(lambda: answers, sock=sock)
    except OSError:
        sock.close()
        raise
    try:
        for patience in SEARCHES:
            transport.sendto(search(GROUP[0]), GROUP)
            transport.sendto(search(str(router)), (str(router), SSDP_PORT))
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(answers.found), patience)
    finally:
        transport.close()
    return None


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, router: IPv4Address) -> None:
        self._router: Final = router
        self.found: Final[asyncio.Future[str]] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        found = location(data, self._router) if addr[0] == str(self._router) else None
        if found is not None and not self.found.done():
            self.found.set_result(found)


def _map(found: str, router: IPv4Address, own: IPv4Address, port: int, ended: Event) -> tuple[_Made, IPv4Address]:
    """Make the mapping, unless it was `ended` meanwhile. It waits for the router. Raises UpnpError."""
    device, control = _device(found)
    if not leads_to(control, router):
        raise UpnpError(f"it wants to be controlled at {control!r}, which is not the router's")
    try:
        ip = IPv4Address(_call(device.externalipaddress))
    except ValueError:
        raise UpnpError("it does not know its outer address") from None
    others = [random.randrange(1024, 65_536) for _ in range(OTHER_PORTS)]
    for outer_port in (port, *others):
        if ended.is_set():
            break
        try:
            _add(device, outer_port, own, port)
        except UpnpError as error:
            if str(error) not in _TAKEN:
                raise
            continue
        if ended.is_set():
            _call(device.deleteportmapping, outer_port, "UDP")
            raise UpnpError("nobody needs it any more")
        return _Made(found, outer_port), ip
    raise UpnpError("nobody needs it any more" if ended.is_set() else "other computers have the ports")


def _add(device: Any, outer_port: int, own: IPv4Address, port: int) -> None:
    arguments = (outer_port, "UDP", str(own), port, "IPOP", "")
    try:
        _call(device.addportmapping, *arguments, LIFETIME)
    except UpnpError as error:
        if str(error) != _ONLY_FOR_EVER:
            raise
        _call(device.addportmapping, *arguments, 0)


def _unmap(made: _Made) -> None:
    device, _ = _device(made.location)
    _call(device.deleteportmapping, made.outer_port, "UDP")


def _device(found: str) -> tuple[Any, str]:
    """The library's object for the device described there, and the URL by which it is controlled."""
    from miniupnpc import UPnP  # noqa: PLC0415 - only where it is needed

    device = UPnP()
    return device, str(_call(device.selectigd, found))


def _call(method: Callable[..., T], *arguments: object) -> T:
    try:
        return method(*arguments)
    except Exception as error:  # the library has no exception of its own
        raise UpnpError(str(error)) from None


async def _in_thread(work: Callable[[], T]) -> T:
    """Its result, from a thread that keeps no process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]  # it is a T where there is no error
        else:
            future.set_exception(error)

    def body() -> None:
        result: T | None = None
        failure: Exception | None = None
        try:
            result = work()
        except Exception as error:  # for whoever awaits it
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody awaits it any more
            loop.call_soon_threadsafe(settle, result, failure)

    Thread(target=body, name="upnp", daemon=True).start()
    return await future
