"""uvicorn in the module's own event loop, with bounds on what a client may cost.

It runs in the monitor's process, so nothing that a client does here can hold up packets.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from asyncio import Transport
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS: Final = 32
HEAD_SECONDS: Final = 10.0
"""From the connection to the end of a request's head."""
HEAD_BYTES: Final = 16_384
STUCK_SECONDS: Final = 20.0
"""How long a client may leave what was sent to it unread."""
GOODBYE: Final = 1
"""Seconds that answers under way have when the module stops."""


class Server(uvicorn.Server):
    """Serves until `close`. Signals are the module's process's own, and there is nothing to do by the clock."""

    def __init__(self, app: ASGIApp, sock: socket.socket, counters: Counter[str]) -> None:
        """Take over a listening socket."""

        class Connection(_Connection):
            refused = counters

        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # a client's nonsense is counted, not logged
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_graceful_shutdown=GOODBYE,
        )
        super().__init__(config)
        self._socket = sock
        self._closing = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._serving = asyncio.create_task(self.serve([self._socket]))

    async def close(self) -> None:
        self._closing.set()
        if self._serving is not None:
            await self._serving

    async def main_loop(self) -> None:
        """Instead of ten wake-ups a second."""
        await self._closing.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Connection(H11Protocol):
    """One client. It is cut off when it is late with its request or doesn't read the answer."""

    refused: Counter[str]

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wire = cast(Transport, transport)
        self._deadline: asyncio.TimerHandle | None = None
        if len(self.connections) > MAX_CONNECTIONS:
            self._cut_off("refused_too_many")
            return
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._no_deadline()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._no_deadline()
        self._deadline = self.loop.call_later(STUCK_SECONDS, self._cut_off, "refused_stuck")

    def resume_writing(self) -> None:
        self._no_deadline()
        super().resume_writing()

    def _late(self) -> None:
        if cast(object | None, self.cycle) is None:  # no request has begun
            self._cut_off("refused_late")

    def _cut_off(self, why: str) -> None:
        self.refused[why] += 1
        self._wire.abort()

    def _no_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def listen(address: str, port: int) -> socket.socket:
    """A TCP socket that listens there. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.create_server((address, port), family=family, backlog=MAX_CONNECTIONS)
    sock.setblocking(False)
    return sock
