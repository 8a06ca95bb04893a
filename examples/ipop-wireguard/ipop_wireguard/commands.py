"""`ipop wireguard`: who is protected, and switching it off and on."""

import click

from ipop_core.cli.client import ask
from ipop_core.cli.output import json_option, print_facts, print_json, print_table, show_bytes, show_duration


@click.group()
def wireguard() -> None:
    """WireGuard between the virtual addresses."""


@wireguard.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show whether packets must be encrypted, and whose keys are known."""
    found = ask(ctx, "crypto", "status").body
    if as_json:
        print_json(found)
        return
    print_facts(
        [
            ("WireGuard", "on" if found["on"] else "off: packets leave unprotected"),
            ("ready", found["ready"]),
            ("card", found["card"]),
            ("fault", found["fault"]),
        ]
    )
    rows = [
        (
            item["peer"],
            item["state"],
            show_duration(item["age_s"]) if "age_s" in item else None,
            show_bytes(item["bytes_in"]),
            show_bytes(item["bytes_out"]),
        )
        for item in found["associations"]
    ]
    if rows:
        click.echo()
        print_table(("peer", "state", "age", "in", "out"), rows)


@wireguard.command()
@click.pass_context
def on(ctx: click.Context) -> None:
    """Let only encrypted packets pass."""
    ask(ctx, "crypto", "on", timeout=15.0)
    click.echo("WireGuard is on")


@wireguard.command()
@click.pass_context
def off(ctx: click.Context) -> None:
    """Packets pass unprotected, as if WireGuard had never been there."""
    ask(ctx, "crypto", "off", timeout=15.0)
    click.echo("WireGuard is off: packets leave unprotected until `ipop wireguard on`, or the module's next start")
