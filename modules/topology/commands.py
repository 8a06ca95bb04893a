"""`ipop resolve`: who owns an address or a name. `ipop members`: all of them. `ipop graph`: the ring, from here."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import click

from ipop_core.bus.api import Bus, JsonObject
from ipop_core.cli.client import ask, with_bus
from ipop_core.cli.output import json_option, print_facts, print_json, print_table
from ipop_core.errors import BusError, IpopError
from ipop_modules.topology.picture import draw


@click.command()
@click.argument("subject", metavar="ADDRESS|NAME")
@click.option("--fresh", is_flag=True, help="Ask the directory even when the answer is known.")
@json_option
@click.pass_context
def resolve(ctx: click.Context, subject: str, fresh: bool, as_json: bool) -> None:
    """Show which node owns a virtual address, or a host name and its addresses. Exit code 1 when none does."""
    if _is_address(subject):
        found = ask(ctx, "topology", "resolve", {"address": subject, "fresh": fresh}).body
        facts = [("address", found["address"])]
    else:
        found = ask(ctx, "topology", "resolve_name", {"name": subject, "fresh": fresh}).body
        facts = [("name", found["name"]), ("address", " ".join(found["addresses"]))]
    if as_json:
        print_json(found)
    elif found["node"] is not None:
        print_facts([*facts, ("node", found["node"]), ("known from", found["source"])])
    elif found["certain"]:
        click.echo(f"{subject}: nobody owns it")
    else:
        click.echo(f"{subject}: the directory did not answer in time")
    ctx.exit(0 if found["node"] is not None else 1)


@click.command()
@json_option
@click.pass_context
def members(ctx: click.Context, as_json: bool) -> None:
    """List the members of this node's namespace, as the directory knows them."""
    found = ask(ctx, "topology", "members").body
    while found.get("more"):
        page = ask(ctx, "topology", "members", {"after": found["nodes"][-1]}).body
        found = {**page, **{kind: found[kind] + page[kind] for kind in ("nodes", "members")}}
    if as_json:
        print_json(found)
        return
    rows = [(member["node"][:12], member["name"] or "", " ".join(member["addresses"])) for member in found["members"]]
    print_table(("node", "name", "addresses"), rows)
    if not found["certain"]:
        click.echo("the directory did not answer in time; there may be others")


@click.command()
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw it into this file.")
@click.option("--most", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Nodes to visit.")
@json_option
@click.pass_context
def graph(ctx: click.Context, svg: Path | None, most: int, as_json: bool) -> None:
    """Walk the ring from here: every node, and its near, long and other links."""
    nodes, silent = with_bus(ctx, lambda bus: _walk(bus, most))
    if svg is not None:
        try:
            svg.write_text(draw(nodes), encoding="utf-8")
        except OSError as error:
            raise IpopError(f"{svg}: {error.strerror}") from None
    if as_json:
        print_json({"nodes": nodes, "silent": silent})
        return
    rows = [
        (node["node"][:12], *(_short(node.get(kind, [])) for kind in ("near", "long", "shortcut", "other")), "")
        for node in sorted(nodes, key=lambda node: str(node["node"]))
    ]
    rows += [(node[:12], "", "", "", "", "did not answer") for node in silent]
    print_table(("node", "near", "long", "shortcut", "other", ""), rows)


async def _walk(bus: Bus, most: int) -> tuple[list[JsonObject], list[str]]:
    """Ask this node, then everyone who is somebody's near neighbour; those who answered, and who did not."""
    nodes: list[JsonObject] = []
    silent: list[str] = []
    start = (await bus.request("topology", "survey")).body
    known, waiting = {start["node"]}, [start]
    while waiting:
        found = waiting.pop(0)
        nodes.append(found)
        for node in found["near"]:
            if node in known or len(known) >= most:
                continue
            known.add(node)
            try:
                waiting.append((await bus.request("topology", "survey", {"node": node})).body)
            except BusError:
                silent.append(node)
    return nodes, silent


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _short(nodes: list[str]) -> str:
    return " ".join(sorted(node[:6] for node in nodes))
