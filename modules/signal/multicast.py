"""The group in which nodes of one network announce themselves: IPv4 multicast that no router passes on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable
from typing import Final

GROUP: Final = "239.255.47.41"
"""Administratively scoped, local (RFC 2365, section 6.1)."""
PORT: Final = 4740

Received = Callable[[bytes, str], None]
"""Takes a datagram and the address that it came from."""


class Multicast(asyncio.DatagramProtocol):
    """Sends to the group and hears it, on the networks of the given IPv4 addresses of this machine."""

    def __init__(self, received: Received) -> None:
        self._received = received
        self._socket: socket.socket | None = None
        self._transport: asyncio.BaseTransport | None = None
        self._joined: set[str] = set()

    async def open(self) -> None:
        """Raise OSError where the machine has no multicast."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            sock.setblocking(False)
            sock.bind((GROUP, PORT))
        except OSError:
            sock.close()
            raise
        self._socket = sock
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=sock)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def join(self, addresses: Iterable[str]) -> None:
        """Hear the group in the network of each address."""
        for address in addresses:
            with contextlib.suppress(OSError):
                self._join(address)

    def send(self, data: bytes, addresses: Iterable[str]) -> None:
        """Send to the group in the network of each address; one that is not this machine's is passed over."""
        sock = self._socket
        if sock is None:
            return
        for address in addresses:
            with contextlib.suppress(OSError):
                self._join(address)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
                sock.sendto(data, (GROUP, PORT))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._received(data, addr[0])

    def _join(self, address: str) -> None:
        sock = self._socket
        if sock is not None and address not in self._joined:
            membership = socket.inet_aton(GROUP) + socket.inet_aton(address)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            self._joined.add(address)
