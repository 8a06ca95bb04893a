"""The hooks of ipsec."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ipop_core.contract import CheckContext, Finding, ModuleSpec, hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def ipop_module() -> ModuleSpec:
    return ModuleSpec(
        name="ipsec",
        contract=1,
        role="crypto",
        needs=("link",),
        guards=("link",),
        schema=json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8")),
        settings="ipop_modules.ipsec.settings:Settings",
        factory="ipop_modules.ipsec.module:Ipsec",
        preload=("ipop_modules.ipsec.module",),
    )


@hookimpl
def ipop_commands() -> Sequence[click.Command]:
    from ipop_modules.ipsec.commands import ipsec  # noqa: PLC0415 - click is for the command line alone

    return [ipsec]


@hookimpl
def ipop_checks(context: CheckContext) -> Sequence[Finding]:
    from ipop_modules.ipsec.checks import examine  # noqa: PLC0415 - for `ipop doctor` alone

    return examine(context)


@hookimpl
def ipop_leftovers(card: str) -> Sequence[Finding]:
    from ipop_modules.ipsec.leftovers import examine_leftovers  # noqa: PLC0415 - for two commands alone

    return examine_leftovers(card)


@hookimpl
def ipop_handed_over(card: str) -> None:
    from ipop_modules.ipsec.leftovers import examine_leftovers, remove_all  # noqa: PLC0415 - for another's start alone

    if examine_leftovers(card):
        remove_all(card)
