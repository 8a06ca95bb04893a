"""Walks the ring from this node, as `ipop graph` does, and keeps what each node says of its neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from ipop_core.bus.api import Bus, JsonObject
from ipop_core.errors import BusError

MOST: Final = 128
"""Nodes. More than that no picture shows."""
AT_ONCE: Final = 8


class Survey:
    """`told` has each node's last answer; `changed` is called when it is another one."""

    def __init__(self, bus: Bus, changed: Callable[[], None]) -> None:
        self.told: dict[str, JsonObject] = {}
        self._bus = bus
        self._changed = changed

    async def walk(self) -> None:
        """Ask this node, then everyone who is somebody's near neighbour; who does not answer is forgotten."""
        own = await self._ask({})
        if own is None:
            return
        waiting, known, answered = [own["node"]], {own["node"]}, set()
        while waiting:
            asked, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
            answers = await asyncio.gather(*(self._ask({"node": node}) for node in asked))
            for node, answer in zip(asked, answers, strict=True):
                if answer is None:
                    continue
                answered.add(node)
                self._keep(node, answer)
                fresh = [near for near in answer["near"] if near not in known][: MOST - len(known)]
                known.update(fresh)
                waiting += fresh
        gone = self.told.keys() - answered
        for node in gone:
            del self.told[node]
        if gone:
            self._changed()

    async def _ask(self, body: Mapping[str, str]) -> JsonObject | None:
        try:
            return (await self._bus.request("topology", "survey", body)).body
        except BusError:
            return None

    def _keep(self, node: str, answer: JsonObject) -> None:
        told = {kind: sorted(answer.get(kind, ())) for kind in ("near", "long", "shortcut", "other")}
        if self.told.get(node) != told:
            self.told[node] = told
            self._changed()
