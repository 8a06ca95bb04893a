"""The hooks of topology."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ipop_core.contract import ModuleSpec, hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def ipop_module() -> ModuleSpec:
    return ModuleSpec(
        name="topology",
        contract=1,
        role="topology",
        needs=("link",),
        schema=json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8")),
        settings="ipop_modules.topology.settings:Settings",
        factory="ipop_modules.topology.module:Topology",
        live=("shortcuts", "name"),
        preload=("ipop_modules.topology.module",),
    )


@hookimpl
def ipop_commands() -> Sequence[click.Command]:
    from ipop_modules.topology.commands import graph, members, resolve  # noqa: PLC0415 - click is heavy

    return [resolve, members, graph]
