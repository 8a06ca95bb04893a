"""The groups in which nodes of one network announce themselves: multicast that no router passes on, IPv4 and IPv6."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from errno import ENOBUFS
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

GROUP: Final = "239.255.47.41"
"""Administratively scoped, local (RFC 2365, section 6.1)."""
GROUP6: Final = "ff12::4741"
"""Not permanently assigned, of one link (RFC 4291, section 2.7)."""
PORT: Final = 4740
_MEMBERSHIP6: Final = struct.Struct("@16sI")
"""struct ipv6_mreq and struct in6_pktinfo."""
_ADDRESSES6: Final = Path("/proc/thread-self/net/if_inet6")

Received = Callable[[bytes, str], None]
"""Takes a datagram and the address that it came from."""


class Multicast(asyncio.DatagramProtocol):
    """Sends to the groups and hears them, on the networks of the given addresses of this machine."""

    def __init__(self, received: Received) -> None:
        self._received = received
        self._socket: socket.socket | None = None
        self._socket6: socket.socket | None = None
        self._transports: list[asyncio.BaseTransport] = []
        self._joined: set[str] = set()
        self._joined6: set[int] = set()

    async def open(self) -> None:
        """Open, anew where it was open. Raise OSError where the machine has no multicast of either kind."""
        self.close()
        fault: OSError | None = None
        try:
            self._socket = await self._serve(_open())
        except OSError as error:
            fault = error
        try:
            self._socket6 = await self._serve(_open6())
        except OSError as error:
            if fault is not None:
                raise fault from error

    def close(self) -> None:
        for transport in self._transports:
            transport.close()
        self._transports.clear()
        self._joined.clear()
        self._joined6.clear()
        self._socket = self._socket6 = None

    def join(self, addresses: Iterable[str]) -> bool:
        """Hear the groups in the network of each address, and no more where this machine has no address now.

        Cards come and go, and take their membership along: so all are joined again. False when the kernel takes no
        more memberships, as each card that went leaves one (it has no way to end it): then open anew.
        """
        ours = set(addresses)
        return self._join({host for host in ours if ":" not in host}) and self._join6(set(_cards(ours).values()))

    def send(self, data: bytes, addresses: Iterable[str]) -> None:
        """Send to the group in the network of each address; one that is not this machine's is passed over."""
        ours = set(addresses)
        for address in ours:
            if self._socket is not None and ":" not in address:
                with contextlib.suppress(OSError):
                    self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
                    self._socket.sendto(data, (GROUP, PORT))
        for address, card in _cards(ours).items():
            if self._socket6 is not None:
                # From this very address: whoever hears it can reach that, and the kernel would take a link-local one.
                source = _MEMBERSHIP6.pack(IPv6Address(address).packed, card)
                with contextlib.suppress(OSError):
                    ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, source)]
                    self._socket6.sendmsg([data], ancillary, 0, (GROUP6, PORT, 0, card))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._received(data, addr[0])

    async def _serve(self, sock: socket.socket) -> socket.socket:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=sock)
        self._transports.append(transport)
        return sock

    def _join(self, addresses: set[str]) -> bool:
        if self._socket is None:
            return True
        for address in self._joined - addresses:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, _membership(address))
        self._joined &= addresses
        for address in addresses:
            if not _added(self._socket, socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _membership(address)):
                return False
            self._joined.add(address)
        return True

    def _join6(self, cards: set[int]) -> bool:
        if self._socket6 is None:
            return True
        group = IPv6Address(GROUP6).packed
        for card in self._joined6 - cards:
            with contextlib.suppress(OSError):
                membership = _MEMBERSHIP6.pack(group, card)
                self._socket6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, membership)
        self._joined6 &= cards
        for card in cards:
            if not _added(self._socket6, socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, _MEMBERSHIP6.pack(group, card)):
                return False
            self._joined6.add(card)
        return True


def _membership(address: str) -> bytes:
    return socket.inet_aton(GROUP) + socket.inet_aton(address)


def _added(sock: socket.socket, level: int, option: int, membership: bytes) -> bool:
    """False when there is no room; an address that is not this machine's, or was joined before, is no fault."""
    try:
        sock.setsockopt(level, option, membership)
    except OSError as error:
        return error.errno != ENOBUFS
    return True


def _cards(addresses: Iterable[str]) -> dict[str, int]:
    """Of these addresses the IPv6 ones that are this machine's, each with its card's index."""
    wanted = {IPv6Address(address).packed.hex(): address for address in addresses if ":" in address}
    try:
        lines = _ADDRESSES6.read_text().splitlines() if wanted else []
    except OSError:
        return {}
    fields = (line.split() for line in lines)
    return {wanted[field[0]]: int(field[1], 16) for field in fields if field[0] in wanted}


def _open() -> socket.socket:
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
    return sock


def _open6() -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
        sock.setblocking(False)
        sock.bind(("::", PORT))
    except OSError:
        sock.close()
        raise
    return sock
