"""The bus within one process: for modules that run inline, and for tests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from ipop_core.bus.hub import Hub, Sent

QUEUE: Final = 1024
"""Messages that may wait for one client."""


class MemoryTransport:
    """A client's line to a hub in the same event loop. Messages are handed over in the loop's next turn."""

    def __init__(self, hub: Hub, client: bytes) -> None:
        self._hub = hub
        self._client = client
        self._inbox: deque[Sequence[bytes]] = deque()
        self._outbox: deque[Sequence[bytes]] = deque()
        self._receive: Callable[[Sequence[bytes]], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def open(self, receive: Callable[[Sequence[bytes]], None]) -> None:
        self._receive = receive
        self._hub.attach(self._client, self._deliver)

    def send(self, parts: Sequence[bytes]) -> bool:
        if self._closed or len(self._outbox) >= QUEUE:
            return False
        self._outbox.append(parts)
        self._loop.call_soon(self._push)
        return True

    def close(self) -> None:
        self._closed = True
        self._hub.leave(self._client)

    def _deliver(self, _client: bytes, parts: Sequence[bytes]) -> Sent:
        if self._closed:
            return Sent.GONE
        if len(self._inbox) >= QUEUE:
            return Sent.QUEUE_FULL
        self._inbox.append(parts)
        self._loop.call_soon(self._pull)
        return Sent.OK

    def _push(self) -> None:
        if not self._closed:
            self._hub.receive(self._client, self._outbox.popleft())

    def _pull(self) -> None:
        parts = self._inbox.popleft()
        if self._receive is not None and not self._closed:
            self._receive(parts)
