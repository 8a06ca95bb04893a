"""For authors of modules: run a module against fake roles, with no controller, no process and no socket.

async with memory_bus() as bus:
    link = FakeRole(bus, "link", {"peers": {"peers": []}})
    await link.start()
    client = await bus.connect("signal")
    module = make_module(module_context(settings, bus=client, folder=tmp_path))
    await module.start()
    client.started()
    answer = await (await bus.connect()).request("signal", "status")
    assert link.calls[0].action == "peers"
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from ipop_core.bus import contracts
from ipop_core.bus.api import Bus, Call, JsonObject, Reply
from ipop_core.bus.client import BusClient
from ipop_core.bus.contracts import Contracts
from ipop_core.bus.hub import Hub
from ipop_core.bus.memory import MemoryTransport
from ipop_core.contract import ModuleContext
from ipop_core.files import private_folder
from ipop_core.identity import Identity, load_or_create
from ipop_core.namespace import Namespace
from ipop_core.supervision.descriptors import DescriptorStore, LocalDescriptors

FakeAnswer: TypeAlias = JsonObject | Reply | Exception | Callable[[Call], Awaitable[JsonObject | Reply | None]]
"""What a fake role answers: a body, a reply with frames, an error to raise, or a function that finds out."""


class MemoryBus:
    """A bus in memory with the product's broker and contracts."""

    def __init__(self, known: Contracts) -> None:
        self.hub = Hub()
        self.contracts = known
        self._clients: list[BusClient] = []
        self._lines = itertools.count(1)

    async def connect(self, role: str | None = None) -> BusClient:
        """A client that fills `role` from now on; None is a guest, as the commands are."""
        line = f"line-{next(self._lines)}".encode()
        if role is not None:
            self.hub.broker.admit(line, role, role)
        client = BusClient(MemoryTransport(self.hub, line), self.contracts, role)
        self._clients.append(client)
        if role is not None:
            await client.hello()
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        self.hub.close()


@contextlib.asynccontextmanager
async def memory_bus(messages: Iterable[Mapping[str, Any]] = ()) -> AsyncIterator[MemoryBus]:
    """A bus that knows the shared contracts and `messages` (a module's `ModuleSpec.messages`)."""
    bus = MemoryBus(contracts.load([list(messages)]))
    try:
        yield bus
    finally:
        await bus.close()


class FakeRole:
    """Stands in for the module that fills a role: answers as told, and remembers what it was asked."""

    def __init__(self, bus: MemoryBus, role: str, answers: Mapping[str, FakeAnswer]) -> None:
        self.calls: list[Call] = []
        self._bus = bus
        self._role = role
        self._answers = dict(answers)
        self._client: BusClient | None = None

    async def start(self) -> None:
        """Fill the role. Raises ValueError for an answer to an action that the role's contract doesn't have."""
        self._client = await self._bus.connect(self._role)
        for action in self._answers:
            self._client.serve(action, self._answer)
        self._client.started()

    def answer(self, action: str, answer: FakeAnswer) -> None:
        """From now on answer so; the action must have had an answer from the beginning."""
        self._answers[action] = answer

    def publish(self, topic: str, body: JsonObject | None = None, frames: Sequence[bytes] = ()) -> None:
        """Publish an event of the role."""
        if self._client is None:
            raise RuntimeError("the fake role is not started")
        self._client.publish(topic, body, frames)

    def called(self, action: str) -> list[Call]:
        """Every call of one action, in order."""
        return [call for call in self.calls if call.action == action]

    async def _answer(self, call: Call) -> JsonObject | Reply | None:
        self.calls.append(call)
        answer = self._answers[call.action]
        if isinstance(answer, Exception):
            raise answer
        return await answer(call) if callable(answer) else answer


def module_context(
    settings: Any,
    *,
    bus: Bus,
    folder: Path,
    node_name: str = "test",
    namespace: Namespace | None = None,
    identity: Identity | None = None,
    descriptors: DescriptorStore | None = None,
    guards: Sequence[str] = (),
) -> ModuleContext:
    """A context with its folders below `folder`, a fresh identity unless one is given, and descriptors of its own."""
    return ModuleContext(
        node_name=node_name,
        identity=identity or load_or_create(private_folder(folder / "node")),
        namespace=namespace,
        settings=settings,
        bus=bus,
        descriptors=descriptors or LocalDescriptors(),
        state=private_folder(folder / "state"),
        run=private_folder(folder / "run"),
        guards=tuple(guards),
    )


def restarted(context: ModuleContext, bus: Bus) -> ModuleContext:
    """The context that the module's next process would be given: the same but for the bus."""
    return replace(context, bus=bus)
