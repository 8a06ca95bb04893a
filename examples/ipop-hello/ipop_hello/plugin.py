"""The hooks. Every `ipop` command imports this file, so it imports nothing heavy."""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from ipop_core.contract import ModuleSpec, hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def ipop_module() -> ModuleSpec:
    folder = files("ipop_hello")
    return ModuleSpec(
        name="hello",
        contract=1,
        role="hello",
        schema=json.loads((folder / "schema.json").read_text()),
        settings="ipop_hello.module:Settings",
        factory="ipop_hello.module:Hello",
        messages=[json.loads((folder / "messages.json").read_text())],
    )


@hookimpl
def ipop_commands() -> "Sequence[click.Command]":
    from ipop_hello.commands import hello  # noqa: PLC0415 - only `ipop` needs click

    return [hello]
