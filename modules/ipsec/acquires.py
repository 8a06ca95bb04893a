"""Hears from the kernel for whom it wants keys: a packet that must be ESP waits, and there is no association for it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from ipop_modules.ipsec import xfrm_messages as messages

_LARGEST_MESSAGE: Final = 1 << 16

Wanted = Callable[[IPv4Address | IPv6Address], None]


class Acquires:
    """Calls `wanted` with each destination for which a policy with this tag wants keys."""

    def __init__(self, tag: int, wanted: Wanted) -> None:
        self._tag = tag
        self._wanted = wanted
        flags = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, flags, messages.NETLINK_XFRM)
        self._socket.bind((0, messages.ACQUIRE_GROUP))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_LARGEST_MESSAGE)
        except OSError:  # more came than the socket holds; the kernel asks again
            return
        for kind, message in messages.split(data):
            if kind == messages.ACQUIRE:
                self._acquire(message)

    def _acquire(self, data: bytes) -> None:
        acquire = messages.Acquire(data)
        acquire.decode()
        template = acquire.get_attr("XFRMA_TMPL")
        if template is None or template["reqid"] != self._tag:
            return
        size = 4 if acquire["sel_family"] == socket.AF_INET else 16
        self._wanted(ip_address(acquire["daddr"][:size]))
