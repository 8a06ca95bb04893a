"""The UDP socket on one of the card's own addresses, by which only this machine's own programs come in."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

from ipop_core.errors import IpopError
from ipop_core.identity import Address

_FREEBIND: Final = {4: (socket.IPPROTO_IP, 15), 6: (socket.IPPROTO_IPV6, 78)}
"""IP_FREEBIND and IPV6_FREEBIND: the card may come up later."""

Handler = Callable[[bytes, Callable[[bytes], None]], None]


class Door(asyncio.DatagramProtocol):
    """Calls `asked` with each question from this machine itself, and a function that sends the answer.

    A program here that asks at one of the machine's own addresses does so from that very address. Whoever else says
    that he came from there is told nothing: the answer goes to this machine.
    """

    def __init__(self, own: Address, asked: Handler, foreign: Callable[[], None]) -> None:
        self._own = str(own)
        self._asked = asked
        self._foreign = foreign
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        transport = self._transport
        if addr[0] != self._own or transport is None:
            self._foreign()
            return
        self._asked(data, lambda answer: transport.sendto(answer, addr))


async def open_door(own: Address, port: int, asked: Handler, foreign: Callable[[], None]) -> asyncio.DatagramTransport:
    """Listen on that address. Raises IpopError."""
    family = socket.AF_INET if own.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(*_FREEBIND[own.version], 1)
        sock.setblocking(False)
        sock.bind((str(own), port))
    except OSError as error:
        sock.close()
        raise IpopError(f"modules.resolver.port: can't listen on {own} port {port}: {error.strerror}") from None
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Door(own, asked, foreign), sock=sock)
    return transport
