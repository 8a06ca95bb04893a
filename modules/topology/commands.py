"""`ipop resolve`: who owns a virtual address."""

from __future__ import annotations

import click

from ipop_core.cli.client import ask
from ipop_core.cli.output import json_option, print_facts, print_json


@click.command()
@click.argument("address")
@click.option("--fresh", is_flag=True, help="Ask the directory even when the answer is known.")
@json_option
@click.pass_context
def resolve(ctx: click.Context, address: str, fresh: bool, as_json: bool) -> None:
    """Show which node owns ADDRESS, a virtual address. The exit code is 1 when none does."""
    found = ask(ctx, "topology", "resolve", {"address": address, "fresh": fresh}).body
    if as_json:
        print_json(found)
    elif found["node"] is not None:
        print_facts([("address", found["address"]), ("node", found["node"]), ("known from", found["source"])])
    elif found["certain"]:
        click.echo(f"{address}: nobody owns it")
    else:
        click.echo(f"{address}: the directory did not answer in time")
    ctx.exit(0 if found["node"] is not None else 1)
