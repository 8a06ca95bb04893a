"""Runs a test's coroutine, and sets up a bus over either transport."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ipop_core.bus import contracts
from ipop_core.bus.client import BusClient
from ipop_core.bus.hub import Hub
from ipop_core.bus.memory import MemoryTransport
from ipop_core.bus.zeromq import DealerTransport, RouterLine

OBJECT = {"type": "object"}
TEST_ROLE = {
    "role": "test",
    "actions": {
        "echo": {
            "doc": "Says it back.",
            "request": {"type": "object", "properties": {"text": {"type": "string"}}},
            "response": OBJECT,
        },
        "wait": {"doc": "Answers when released.", "request": OBJECT, "response": OBJECT},
        "carry": {"doc": "Two frames.", "frames": 2, "response_frames": 1, "request": OBJECT, "response": OBJECT},
        "lie": {"doc": "Breaks its word.", "request": OBJECT, "response": {"type": "object", "required": ["truth"]}},
    },
    "events": {"test.done": {"doc": "It is done.", "body": {"type": "object", "required": ["what"]}}},
}


def story(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A test that is a coroutine; five seconds at most."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def limited() -> None:
            async with asyncio.timeout(5):
                await test(*args, **kwargs)

        asyncio.run(limited())

    return run


class Stage:
    """A hub and clients of it, over `memory` or `zeromq`."""

    def __init__(self, transport: str, folder: Path) -> None:
        self.hub = Hub()
        self.path = folder / "bus.sock"
        self.contracts = contracts.load([[TEST_ROLE]])
        self.line = RouterLine(self.hub, self.path) if transport == "zeromq" else None
        self._clients: list[BusClient] = []

    def transport(self, identity: str) -> MemoryTransport | DealerTransport:
        if self.line is None:
            return MemoryTransport(self.hub, identity.encode())
        return DealerTransport(self.path, identity.encode())

    def client(self, identity: str, role: str | None = None) -> BusClient:
        client = BusClient(self.transport(identity), self.contracts, role)
        self._clients.append(client)
        return client

    async def module(self, name: str, role: str, identity: str | None = None) -> BusClient:
        self.hub.broker.admit((identity or name).encode(), name, role)
        client = self.client(identity or name, role)
        await client.hello()
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        if self.line is not None:
            self.line.close()
        self.hub.close()


@asynccontextmanager
async def stage(transport: str, folder: Path) -> AsyncIterator[Stage]:
    stage = Stage(transport, folder)
    try:
        yield stage
    finally:
        await stage.close()
