"""Where packets wait while their peer's key is asked for, so that not even the first is lost.

It is a TUN interface, to which the kernel routes whatever is for a virtual address without a known peer. What is read
from it is held, a little of it and for a while, and then sent again through a raw socket: by then there is a route
into WireGuard.
"""

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from fcntl import ioctl
from ipaddress import ip_address

from ipop_core.errors import IpopError
from ipop_wireguard.card import Address

MOST_HELD = 64
"""Packets for one address; of more the newest are dropped."""
MOST_ADDRESSES = 256
_TUN = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_IFREQ = struct.Struct("16sH22x")
_LONGEST = 65536


class Waiting:
    def __init__(self, name: str, wanted: Callable[[Address], bool]) -> None:
        """`wanted` is told of every packet's destination, and says whether the packet is worth holding.

        Raises IpopError.
        """
        self._wanted = wanted
        self._held: dict[Address, deque[bytes]] = {}
        self.dropped = 0
        try:
            self._sockets = {
                version: socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
                for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6))
            }
            self._descriptor = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            ioctl(self._descriptor, _TUNSETIFF, _IFREQ.pack(name.encode(), _IFF_TUN_NO_PI))
        except OSError as error:
            raise IpopError(f"modules.wireguard: {name} can't be made, as root may: {error.strerror}") from None
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def release(self, address: Address) -> None:
        """Send what waits for this address."""
        for packet in self._held.pop(address, ()):
            with suppress(OSError):  # as any packet, it may be lost
                self._sockets[address.version].sendto(packet, (str(address), 0))

    def give_up(self, address: Address) -> None:
        """There is nobody to send to."""
        self.dropped += len(self._held.pop(address, ()))

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        for sock in self._sockets.values():
            sock.close()

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while packet := os.read(self._descriptor, _LONGEST):
                self._take(packet)

    def _take(self, packet: bytes) -> None:
        destination = ip_address(packet[16:20] if packet[0] >> 4 == 4 else packet[24:40])
        held = self._held.get(destination)
        if held is None and len(self._held) < MOST_ADDRESSES and self._wanted(destination):
            held = self._held[destination] = deque()
        if held is not None and len(held) < MOST_HELD:
            held.append(packet)
        else:
            self.dropped += 1
