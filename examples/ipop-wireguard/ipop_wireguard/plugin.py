"""The hooks. Every `ipop` command imports this file, so it imports nothing heavy."""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from ipop_core.contract import CheckContext, Finding, ModuleSpec, hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def ipop_module() -> ModuleSpec:
    return ModuleSpec(
        name="wireguard",
        contract=1,
        role="crypto",
        needs=("link", "topology"),
        guards=("link",),
        schema=json.loads((files("ipop_wireguard") / "schema.json").read_text()),
        settings="ipop_wireguard.module:Settings",
        factory="ipop_wireguard.module:WireGuard",
    )


@hookimpl
def ipop_commands() -> "Sequence[click.Command]":
    from ipop_wireguard.commands import wireguard  # noqa: PLC0415 - only `ipop` needs click

    return [wireguard]


@hookimpl
def ipop_checks(context: CheckContext) -> Sequence[Finding]:
    from ipop_wireguard.checks import examine  # noqa: PLC0415 - for checks alone

    return examine()
