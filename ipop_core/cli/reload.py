"""`ipop reload`: have the running node read its configuration again."""

from __future__ import annotations

from typing import Final

import click

from ipop_core.cli.client import ask
from ipop_core.cli.output import json_option, print_json

LIMIT: Final = 60.0


@click.command()
@json_option
@click.pass_context
def reload(ctx: click.Context, as_json: bool) -> None:
    """Read the configuration again, and take what can be taken without losing a link.

    What needs a restart is named, and stays as it is until then. A file with a fault changes nothing.
    """
    found = ask(ctx, "core", "reload", timeout=LIMIT).body
    if as_json:
        print_json(found)
        return
    for place in found["taken"]:
        click.echo(f"{place}: taken")
    for place in found["restart"]:
        click.echo(f"{place}: needs a restart")
    for line in found["refused"]:
        click.echo(f"{line}: not taken", err=True)
    if not any(found.values()):
        click.echo("nothing has changed")
    if found["refused"]:
        ctx.exit(1)
