"""What tincan offers to the hall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ipop_core.contract import CheckContext, Finding, ModuleSpec, hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def ipop_module() -> ModuleSpec:
    from .settings import schema  # noqa: PLC0415 - a plugin imports nothing until it is asked

    return ModuleSpec(
        name="tincan",
        contract=1,
        role="link",
        schema=schema(),
        settings="ipop_modules.tincan.settings:TincanSettings",
        factory="ipop_modules.tincan.module:create",
        live=("relay_mbps", "search_datagrams", "search_sockets"),
        preload=("pyroute2", "cryptography.x509.verification", "ipop_modules.tincan.module"),
        event_loop="ipop_modules.tincan.link.loop:LaneLoop",
    )


@hookimpl
def ipop_commands() -> Sequence[click.Command]:
    from .commands import peers, ping, trace  # noqa: PLC0415
    from .diagnosis_commands import netcheck, why  # noqa: PLC0415

    return (peers, ping, trace, netcheck, why)


@hookimpl
def ipop_checks(context: CheckContext) -> Sequence[Finding]:
    from .checks import examine  # noqa: PLC0415

    return examine(context)
