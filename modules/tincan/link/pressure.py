"""Back-pressure: while a socket is full the card is not read, so that the card's queue fills and programs wait.

Receiving goes on. What the socket did not take is held (`protocol/backlog.py`) and sent as soon as the kernel says that
half of the socket's buffer is free; on a slow link that takes long, so it is tried in between, too.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from .protocol.backlog import Load
from .protocol.block import Buffer
from .protocol.events import Endpoint
from .udp import UdpSocket

RETRY: Final = 0.05


class Pressure:
    """The sockets that are full. `pause` is told when the card must no longer be read, and when it may be again."""

    def __init__(self, clock: Callable[[], float], pause: Callable[[bool], None]) -> None:
        self._clock: Final = clock
        self._pause: Final = pause
        self._full: Final[dict[UdpSocket, None]] = {}
        self._trying: asyncio.TimerHandle | None = None
        self.is_paused = False
        self.counters: Final[Counter[str]] = Counter()

    def hold(
        self, sock: UdpSocket, endpoint: Endpoint, buffers: Sequence[Buffer | bytearray], segment: int, load: Load
    ) -> bool:
        """Keep what a socket did not take until it does; False when it was dropped."""
        kept = sock.hold(endpoint, buffers, segment, load, self._clock())
        if sock.backlog.is_full and sock not in self._full:
            loop = asyncio.get_running_loop()
            self._full[sock] = None
            self.counters["full_sockets"] += 1
            loop.add_writer(sock.fileno(), self._writable, sock)
            # As from another thread: the lane that this is called in would wait on without a look at a new timer.
            loop.call_soon_threadsafe(self._plan)
        self._settle()
        return kept

    def forget(self, sock: UdpSocket) -> None:
        """The socket is about to be closed."""
        if sock in self._full:
            self.counters["drop_full_late"] += len(sock.backlog)
            self._leave(sock)
            self._settle()

    def close(self) -> None:
        for sock in list(self._full):
            self._leave(sock)
        if self._trying is not None:
            self._trying.cancel()

    def _writable(self, sock: UdpSocket) -> None:
        self._drain(sock, is_writable=True)
        self._settle()

    def _try(self) -> None:
        for sock in list(self._full):
            if not self._drain(sock, is_writable=False) and (late := sock.backlog.give_up(self._clock())):
                self.counters["drop_full_late"] += late
        self._trying = None
        self._plan()
        self._settle()

    def _plan(self) -> None:
        if self._full and self._trying is None:
            self._trying = asyncio.get_running_loop().call_later(RETRY, self._try)

    def _drain(self, sock: UdpSocket, *, is_writable: bool) -> bool:
        is_done = sock.drain(self._clock(), is_writable=is_writable)
        if is_done:
            self._leave(sock)
        return is_done

    def _leave(self, sock: UdpSocket) -> None:
        del self._full[sock]
        asyncio.get_running_loop().remove_writer(sock.fileno())

    def _settle(self) -> None:
        is_paused = any(sock.backlog.holds_up for sock in self._full)
        if is_paused != self.is_paused:
            self.is_paused = is_paused
            self._pause(is_paused)
