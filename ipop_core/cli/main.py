"""The command `ipop`: its own subcommands, and those that modules bring."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from ipop_core.cli.client import Target
from ipop_core.errors import ConfigError, IpopError

OWN: Final[Mapping[str, str]] = {
    "ca": "ipop_core.cli.ca:ca",
    "cloud-init": "ipop_core.cli.cloud_init:cloud_init",
    "demo": "ipop_core.demo.command:demo",
    "doctor": "ipop_core.doctor.command:doctor",
    "down": "ipop_core.cli.down:down",
    "init": "ipop_core.cli.init:init",
    "modules": "ipop_core.cli.modules:modules",
    "reload": "ipop_core.cli.reload:reload",
    "status": "ipop_core.cli.status:status",
    "up": "ipop_core.cli.up:up",
}
"""Imported when called for."""


class IpopGroup(click.Group):
    """Looks subcommands up when they are called for; an IpopError ends as one line and an exit code."""

    _brought: Mapping[str, click.Command] | None = None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*OWN, *self._from_modules()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in OWN:
            module_name, _, name = OWN[cmd_name].partition(":")
            command: click.Command = getattr(importlib.import_module(module_name), name)
            return command
        return self._from_modules().get(cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except IpopError as error:
            for line in str(error).splitlines():
                click.echo(f"ipop: {line}", err=True)
            ctx.exit(getattr(error, "exit_code", 2 if isinstance(error, ConfigError) else 1))

    def _from_modules(self) -> Mapping[str, click.Command]:
        if self._brought is None:
            # Imported here: the core's own commands need no module.
            from ipop_core.cli.template import default_modules  # noqa: PLC0415
            from ipop_core.loader import Registry  # noqa: PLC0415

            brought, warnings = Registry().commands(default_modules(), taken=OWN)
            self._brought = brought
            for warning in warnings:
                click.echo(f"ipop: warning: {warning}", err=True)
        return self._brought


@click.group(cls=IpopGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--node", metavar="NAME", help="The node meant, where several run on this machine.")
@click.option("-c", "config", type=click.Path(path_type=Path), metavar="FILE", help="The node of this configuration.")
@click.version_option(package_name="ipop", prog_name="ipop")
@click.pass_context
def cli(ctx: click.Context, node: str | None, config: Path | None) -> None:
    """IP over P2P: a private network for computers in many places, with no server in the middle."""
    if node is not None and config is not None:
        raise click.UsageError("--node and -c name the same thing; give one of them")
    ctx.obj = Target(node, config)


def main() -> None:
    cli(prog_name="ipop")
