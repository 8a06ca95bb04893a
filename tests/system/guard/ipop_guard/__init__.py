"""A stranger's module in the role `crypto`: it guards the card, and answers only once a file is there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from ipop_core.bus.api import Call
from ipop_core.contract import ModuleContext, ModuleSpec, hookimpl


@dataclass(frozen=True)
class Settings:
    gate: str


class Guard:
    def __init__(self, context: ModuleContext) -> None:
        self._bus = context.bus
        self._gate = Path(context.settings.gate)

    async def start(self) -> None:
        self._bus.serve("guard", self._guard)

    async def stop(self) -> None:
        pass

    async def _guard(self, _: Call) -> None:
        while not self._gate.exists():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)


@hookimpl
def ipop_module() -> ModuleSpec:
    return ModuleSpec(
        name="gate",
        contract=1,
        role="crypto",
        needs=("link",),
        guards=("link",),
        schema={"type": "object", "required": ["gate"], "properties": {"gate": {"type": "string"}}},
        settings="ipop_guard:Settings",
        factory="ipop_guard:Guard",
    )
