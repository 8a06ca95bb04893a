"""An asyncio event loop with a fast lane: packet descriptors are served inside the selector, with no task or handle.

asyncio spends tens of microseconds on each wake-up. The lane is served straight from the wait; asyncio gets
its turn when one of its own descriptors is ready, when a timer is due, or when a callback asks for it.

What a packet brings about in a callback is counted and logged, and ends nothing. A card that was taken away ends the
loop: it would be told again at once, for ever.
"""

from __future__ import annotations

import asyncio
import logging
import select
import selectors
import time
from collections.abc import Callable
from typing import Any, Final

from ipop_core.token_bucket import TokenBucket

from ..frames import CardGone

log = logging.getLogger("ipop.tincan")

LaneCallback = Callable[[], bool]
"""Serves its descriptor for one turn; true when asyncio should have its turn next."""

_MAX_EVENTS: Final = 16
LOGGED_RATE: Final = 0.1
LOGGED_BURST: Final = 3.0


class LaneSelector(selectors.EpollSelector):
    """Waits for asyncio's descriptors as before, and for the lane's beside them."""

    def __init__(self) -> None:
        super().__init__()
        self._lanes: dict[int, LaneCallback] = {}
        self._control = super().fileno()
        self._both = select.epoll()
        self._both.register(self._control, select.EPOLLIN)
        self.faults = 0
        """Turns that an exception ended which nothing foresaw."""
        self._logged: Final = TokenBucket(LOGGED_RATE, LOGGED_BURST, time.monotonic())

    def add_lane(self, descriptor: int, callback: LaneCallback) -> None:
        self._both.register(descriptor, select.EPOLLIN)
        self._lanes[descriptor] = callback

    def remove_lane(self, descriptor: int) -> None:
        if self._lanes.pop(descriptor, None) is not None:
            self._both.unregister(descriptor)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not self._lanes:
            return super().select(timeout)
        deadline = None if timeout is None else time.monotonic() + max(timeout, 0.0)
        wait = -1.0 if timeout is None else max(timeout, 0.0)
        while True:
            turn = False
            for descriptor, _ in self._both.poll(wait, _MAX_EVENTS):
                lane = self._lanes.get(descriptor)
                if lane is not None:
                    try:
                        turn = lane() or turn
                    except CardGone:
                        raise
                    except Exception as error:
                        turn = True
                        self._fault(error)
                elif descriptor == self._control:
                    turn = True
            if turn:
                return super().select(0)
            if deadline is not None:
                wait = deadline - time.monotonic()
                if wait <= 0:
                    return super().select(0)

    def _fault(self, error: Exception) -> None:
        self.faults += 1
        if self._logged.take(time.monotonic()):
            log.error("a packet met a fault of this program", exc_info=error)

    def close(self) -> None:
        self._both.close()
        super().close()


class LaneLoop(asyncio.SelectorEventLoop):
    """The event loop of the process that owns the card."""

    def __init__(self) -> None:
        self.lanes: Final = LaneSelector()
        super().__init__(self.lanes)


def add_lane(loop: asyncio.AbstractEventLoop, descriptor: int, callback: LaneCallback) -> None:
    """Serve a descriptor in the fast lane, or as any other where the loop has none (a module that runs inline)."""
    if isinstance(loop, LaneLoop):
        loop.lanes.add_lane(descriptor, callback)
    else:
        loop.add_reader(descriptor, callback)


def remove_lane(loop: asyncio.AbstractEventLoop, descriptor: int) -> Any:
    if isinstance(loop, LaneLoop):
        loop.lanes.remove_lane(descriptor)
    else:
        loop.remove_reader(descriptor)


def faults(loop: asyncio.AbstractEventLoop) -> int:
    """How many turns of the fast lane ended in an exception that nothing foresaw."""
    return loop.lanes.faults if isinstance(loop, LaneLoop) else 0
