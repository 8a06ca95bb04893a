"""`ipop modules`: the modules of the running node."""

from __future__ import annotations

import time

import click

from ipop_core.cli.client import ask
from ipop_core.cli.output import json_option, print_json, print_table, show_duration


@click.command()
@json_option
@click.pass_context
def modules(ctx: click.Context, as_json: bool) -> None:
    """Show the modules of the running node."""
    found = ask(ctx, "core", "status").body["modules"]
    if as_json:
        print_json(found)
        return
    now = time.time()
    rows = [
        (item["name"], item["role"], item["pid"], item["state"], item["restarts"], show_duration(now - item["since"]))
        for item in found
    ]
    print_table(("name", "role", "pid", "state", "restarts", "since"), rows)
