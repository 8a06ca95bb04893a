"""A bus whose other end is the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ipop_core.bus.api import Call, CallHandler, Event, EventHandler, JsonObject, Reply

Answerer = Callable[[JsonObject], Awaitable[JsonObject]]


class FakeBus:
    def __init__(self) -> None:
        self.answerers: dict[str, Answerer] = {}
        self.requests: list[tuple[str, JsonObject]] = []
        self.told: asyncio.Queue[tuple[str, JsonObject, Sequence[bytes]]] = asyncio.Queue()
        self.published: asyncio.Queue[tuple[str, JsonObject]] = asyncio.Queue()
        self._handlers: dict[str, CallHandler] = {}
        self._subscribers: dict[str, EventHandler] = {}

    async def request(
        self,
        role: str,
        action: str,
        body: JsonObject | None = None,
        frames: Sequence[bytes] = (),
        *,
        timeout: float = 5.0,  # noqa: ASYNC109 - as the Bus has it
    ) -> Reply:
        self.requests.append((f"{role}.{action}", body or {}))
        return Reply(await self.answerers[f"{role}.{action}"](body or {}))

    def notify(self, role: str, action: str, body: JsonObject | None = None, frames: Sequence[bytes] = ()) -> None:
        self.told.put_nowait((f"{role}.{action}", body or {}, frames))

    def publish(self, topic: str, body: JsonObject | None = None, frames: Sequence[bytes] = ()) -> None:
        self.published.put_nowait((topic, body or {}))

    def serve(self, action: str, handler: CallHandler) -> None:
        self._handlers[action] = handler

    async def subscribe(self, topic: str, handler: EventHandler) -> None:
        self._subscribers[topic] = handler

    async def call(self, action: str, body: JsonObject | None = None, frames: Sequence[bytes] = ()) -> Any:
        return await self._handlers[action](Call(action, "test", body or {}, frames))

    def deliver(self, topic: str, body: JsonObject) -> None:
        self._subscribers[topic](Event(topic, "test", body))
