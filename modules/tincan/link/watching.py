"""Changes of this machine's surroundings (`surroundings.py`), as the kernel tells them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import Final

from ipop_core.token_bucket import TokenBucket

from .protocol.rtnetlink import (
    CARDS,
    IPV4_ADDRESSES,
    IPV4_ROUTES,
    IPV6_ADDRESSES,
    IPV6_ROUTES,
    NEIGHBOURS,
    Card,
    Neighbour,
    told,
)

_GROUPS: Final = CARDS | IPV4_ADDRESSES | IPV6_ADDRESSES | IPV4_ROUTES | IPV6_ROUTES | NEIGHBOURS
_MOST: Final = 65_536
SETTLING: Final = 0.2
"""Changes come in flocks: a new address, a new route, the old ones' removal."""
LOOKS: Final = 5
REST: Final = 2.0
"""So many calls at once, and then one in so many seconds: a computer that claims the router's address must not keep
this one busy, and a move is a flock of flocks: the old address goes, and the new one comes when the network gives it.
"""


class Watch:
    """Calls `changed` a moment after a card, an address, a default route or a router came or went.

    What they are now is for the caller to find out. `routers` gives the addresses on the link of the routers that are
    known, by their IP addresses; other neighbours don't matter.
    """

    def __init__(self, changed: Callable[[], None], routers: Callable[[], Mapping[bytes, bytes | None]]) -> None:
        self._changed: Final = changed
        self._routers: Final = routers
        self._looks: Final = TokenBucket(1 / REST, LOOKS, 0.0)
        self._cards: dict[int, bool] = {}
        """Which cards run, as far as the kernel has told of them."""
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
            sock.bind((0, _GROUPS))
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
        matters = False
        try:
            while data := sock.recv(_MOST):
                matters = self._matters(data) or matters
        except BlockingIOError:
            pass
        except OSError:  # so much was told at once that the kernel dropped some
            matters = True
        if matters and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SETTLING, self._settled)

    def _matters(self, data: bytes) -> bool:
        routers = self._routers()
        news = [self._is_news(item, routers) for item in told(data)]
        return any(news)

    def _is_news(self, item: Neighbour | Card | None, routers: Mapping[bytes, bytes | None]) -> bool:
        if isinstance(item, Card):
            before = self._cards.get(item.number)
            self._cards[item.number] = item.runs
            return before is not item.runs
        return item is None or (item.ip in routers and routers[item.ip] != item.link_address)

    def _settled(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        if self._looks.take(loop.time()):
            self._changed()
        else:
            self._timer = loop.call_later(REST, self._settled)
