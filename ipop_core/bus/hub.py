"""The hub: gives the broker its time and carries its messages, over whatever line each client hangs on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import TypeAlias

from ipop_core.bus.broker import Broker, Deliveries
from ipop_core.bus.envelope import encode


class Sent(Enum):
    """What became of a message that was handed to a line."""

    OK = auto()
    QUEUE_FULL = auto()
    GONE = auto()
    """The client has hung up."""


Line: TypeAlias = Callable[[bytes, Sequence[bytes]], Sent]
"""Hands a message (its parts) to the client of that name; never waits."""


class Hub:
    """One broker and the lines of its clients; belongs to one event loop."""

    def __init__(self) -> None:
        self.broker = Broker()
        self._lines: dict[bytes, Line] = {}
        self._default_line: Line | None = None
        self._timer: asyncio.TimerHandle | None = None

    def attach(self, client: bytes, line: Line) -> None:
        """That client hangs on a line of its own."""
        self._lines[client] = line

    def attach_default(self, line: Line) -> None:
        """Every client without a line of its own hangs on this one."""
        self._default_line = line

    def receive(self, client: bytes, parts: Sequence[bytes]) -> None:
        """A message came from that client."""
        self._perform(self.broker.receive(client, parts, asyncio.get_running_loop().time()))

    def leave(self, client: bytes) -> None:
        """That client is gone for good."""
        self._lines.pop(client, None)
        self._perform(self.broker.leave(client))

    def close(self) -> None:
        """Stop the timer; lines are closed by their owners."""
        if self._timer is not None:
            self._timer.cancel()

    def _perform(self, deliveries: Deliveries) -> None:
        queue = deque(deliveries)
        while queue:
            delivery = queue.popleft()
            line = self._lines.get(delivery.client, self._default_line)
            sent = line(delivery.client, encode(delivery.envelope, delivery.frames)) if line else Sent.GONE
            if sent is Sent.QUEUE_FULL:
                queue.extend(self.broker.undelivered(delivery))
            elif sent is Sent.GONE:
                queue.extend(self.broker.undelivered(delivery))
                self._lines.pop(delivery.client, None)
                queue.extend(self.broker.leave(delivery.client))
        self._set_timer()

    def _set_timer(self) -> None:
        wake = self.broker.next_wake()
        if self._timer is not None:
            if self._timer.when() == wake and not self._timer.cancelled():
                return
            self._timer.cancel()
            self._timer = None
        if wake is not None:
            self._timer = asyncio.get_running_loop().call_at(wake, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._perform(self.broker.wake(asyncio.get_running_loop().time()))
