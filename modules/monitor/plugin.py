"""The hooks of the monitor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipop_core.contract import ModuleSpec, hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def ipop_module() -> ModuleSpec:
    return ModuleSpec(
        name="monitor",
        contract=1,
        role="monitor",
        schema=_read("schema.json"),
        settings="ipop_modules.monitor.settings:Settings",
        factory="ipop_modules.monitor.module:Monitor",
        messages=(_read("messages.json"),),
    )


@hookimpl
def ipop_commands() -> Sequence[click.Command]:
    from ipop_modules.monitor.commands import monitor  # noqa: PLC0415 - click is for the command line alone

    return [monitor]


def _read(name: str) -> Any:
    return json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
