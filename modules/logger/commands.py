"""`ipop log-level`: change how much is logged while the node runs."""

from __future__ import annotations

from typing import get_args

import click

from ipop_core.cli.client import ask
from ipop_modules.logger.settings import Level


@click.command("log-level")
@click.argument("level", type=click.Choice(get_args(Level)))
@click.option("--module", metavar="NAME", help="Change this module alone.")
@click.pass_context
def log_level(ctx: click.Context, level: str, module: str | None) -> None:
    """Log more, or less, until the next start: lines of LEVEL and above are written."""
    ask(ctx, "core", "levels", {"level": level} if module is None else {"level": level, "module": module})
    click.echo(f"{module or 'every module'} logs from {level} on")
