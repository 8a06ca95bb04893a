"""`ipop monitor`: where the live page of this node is."""

from __future__ import annotations

import click

from ipop_core.cli.client import ask
from ipop_core.cli.output import json_option, print_facts, print_json
from ipop_core.errors import BusError, IpopError


@click.command()
@json_option
@click.pass_context
def monitor(ctx: click.Context, as_json: bool) -> None:
    """Show the address of this node's live page, with the token that opens it, and of its metrics."""
    try:
        found = ask(ctx, "monitor", "invite").body
    except BusError as error:
        if error.code != "no-role":
            raise
        line = 'the monitor is off; add "monitor": {} to "modules" in the configuration, and start the node again'
        raise IpopError(line) from None
    if as_json:
        print_json(found)
    else:
        print_facts([("page", found["url"]), ("metrics", found["metrics"])])
