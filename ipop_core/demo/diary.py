"""What a node told on its bus while the demo ran, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ipop_core.demo.node import Node

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus, Event, JsonObject

TOPICS: Final = ("link.*", "topology.*")


@dataclass(frozen=True)
class Entry:
    at: float
    """When it was heard, as `time.monotonic()` counts."""
    topic: str
    body: JsonObject


@dataclass
class Diary:
    entries: list[Entry] = field(default_factory=list)

    async def keep(self, node: Node) -> None:
        """Write down what the node publishes, from the moment that its bus is there, until cancelled."""

        async def listen(bus: Bus) -> None:
            for topic in TOPICS:
                await bus.subscribe(topic, self._write)
            await asyncio.Event().wait()

        await node.ask(listen, patience=float("inf"))

    def find(self, topic: str, **wanted: Any) -> Iterator[Entry]:
        """The entries of a topic whose bodies hold these values, oldest first."""
        for entry in self.entries:
            if entry.topic == topic and all(entry.body.get(key) == value for key, value in wanted.items()):
                yield entry

    def _write(self, event: Event) -> None:
        self.entries.append(Entry(time.monotonic(), event.topic, event.body))
