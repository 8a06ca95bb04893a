"""The hooks of the logger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipop_core.contract import ModuleSpec, hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def ipop_module() -> ModuleSpec:
    return ModuleSpec(
        name="logger",
        contract=1,
        role="logger",
        schema=_read("schema.json"),
        settings="ipop_modules.logger.settings:Settings",
        factory="ipop_modules.logger.module:Logger",
        messages=(_read("messages.json"),),
        live=("level", "levels"),
        inline=True,
    )


@hookimpl
def ipop_commands() -> Sequence[click.Command]:
    from ipop_modules.logger.commands import log_level  # noqa: PLC0415 - click is for the command line alone

    return [log_level]


@hookimpl
def ipop_process_started(process: str, settings: Mapping[str, Any], run: Path) -> None:
    from ipop_modules.logger.setup import set_up_logging  # noqa: PLC0415 - not before a process needs it

    set_up_logging(process, settings, run)


def _read(name: str) -> Any:
    return json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
