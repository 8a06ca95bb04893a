"""Asks the roles of a node, over and over where the answer takes a while to come."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipop_core.cli.client import on_bus
from ipop_core.errors import IpopError

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus, JsonObject

LIMIT: Final = 5.0


class Asker:
    """Implements `contract.Ask`; without a run folder nobody answers."""

    def __init__(self, run: Path | None) -> None:
        self._run = run

    def __call__(self, role: str, action: str, body: JsonObject | None = None) -> JsonObject | None:
        if self._run is None:
            return None

        async def work(bus: Bus) -> JsonObject:
            return (await bus.request(role, action, body, timeout=LIMIT)).body

        try:
            return asyncio.run(on_bus(self._run, work))
        except IpopError:
            return None
