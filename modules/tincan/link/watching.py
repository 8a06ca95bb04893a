"""Changes of this machine's addresses, as the kernel tells them (rtnetlink(7))."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

_RTMGRP_IPV4_IFADDR: Final = 0x10
_RTMGRP_IPV6_IFADDR: Final = 0x100
_MOST: Final = 65_536
SETTLING: Final = 0.2
"""Changes come in flocks: a new address, a new route, the old ones' removal."""


class AddressWatch:
    """Calls `changed` a moment after addresses came or went; what they are now is for the caller to find out."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed: Final = changed
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; where the kernel has no netlink for us, nothing is ever called."""
        try:
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        except OSError:
            return
        try:
            sock.setblocking(False)
            sock.bind((0, _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))
        except OSError:
            sock.close()
            return
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock.fileno(), self._ready)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()

    def _ready(self) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            while sock.recv(_MOST):
                pass
        except OSError:  # nothing more waits, or so much was told at once that the kernel dropped some: both mean now
            pass
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SETTLING, self._settled)

    def _settled(self) -> None:
        self._timer = None
        self._changed()
