"""`ipop ipsec`: what is protected, and switching it off and on."""

from __future__ import annotations

import click

from ipop_core.cli.client import ask
from ipop_core.cli.output import json_option, print_facts, print_json, print_table, show_bytes, show_duration


@click.group()
def ipsec() -> None:
    """IPsec between the virtual addresses."""


@ipsec.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show whether packets must be encrypted, and with whom there are keys."""
    found = ask(ctx, "crypto", "status").body
    if as_json:
        print_json(found)
        return
    print_facts(
        [
            ("IPsec", "on" if found["on"] else "off: packets leave unprotected"),
            ("keys can be made", found["ready"]),
            ("card", found["card"]),
            ("revocations", found["revocations"]),
            ("fault", found["fault"]),
        ]
    )
    columns = ("peer", "state", "age", "new keys in", "in", "out")
    rows = [
        (
            item["peer"],
            item["state"],
            show_duration(item["age_s"]),
            None if item["rekey_in_s"] is None else show_duration(item["rekey_in_s"]),
            show_bytes(item["bytes_in"]),
            show_bytes(item["bytes_out"]),
        )
        for item in found["associations"]
    ]
    if rows:
        click.echo()
        print_table(columns, rows)


@ipsec.command()
@click.pass_context
def on(ctx: click.Context) -> None:
    """Let only encrypted packets pass."""
    ask(ctx, "crypto", "on", timeout=15.0)
    click.echo("IPsec is on")


@ipsec.command()
@click.option("--card", metavar="NAME", help="Of no running node: what an earlier run left for this card.")
@click.pass_context
def off(ctx: click.Context, card: str | None) -> None:
    """Remove all keys and policies: packets pass unprotected, as if IPsec had never been there.

    With --card it needs no running node, and no module ipsec in its configuration.
    """
    if card is not None:
        from ipop_modules.ipsec.leftovers import remove_all  # noqa: PLC0415 - netlink takes a quarter of a second

        click.echo(f"{remove_all(card)} policies of {card} are removed")
        return
    ask(ctx, "crypto", "off", timeout=15.0)
    click.echo("IPsec is off: packets leave unprotected until `ipop ipsec on`, or the module's next start")
