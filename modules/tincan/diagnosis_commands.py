"""Subcommands of `ipop` that say what is in the way of direct links: netcheck and why."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from ipop_core.bus.api import Bus, JsonObject
from ipop_core.cli.client import ask, with_bus
from ipop_core.cli.output import json_option, print_json, print_table
from ipop_core.errors import BusError

_LOOKUP_SECONDS = 8.0
_TEST_SECONDS = 8.0
_FILTERING = {
    "unknown": "unknown: too few peers, or none that this node has never sent anything to",
    "endpoint-independent": "endpoint-independent: anybody gets in by a mapping that is there",
    "address-dependent": "address-dependent: only hosts that this node has sent to get in",
    "address-and-port-dependent": "address-and-port-dependent: only addresses and ports that this node has sent to",
}


@click.command()
@json_option
@click.pass_context
def netcheck(ctx: click.Context, as_json: bool) -> None:
    """Show what kind of NAT is in front of this node, by what its peers see."""
    found = ask(ctx, "link", "netcheck", timeout=_TEST_SECONDS).body
    if as_json:
        print_json(found)
        return
    rows = [
        ("UDP port", str(found["port"])),
        ("own addresses", ", ".join(found["own"]) or "none"),
        *_family("IPv4", found["ipv4"]),
        *_family("IPv6", found["ipv6"]),
        ("filtering", _FILTERING[found["filtering"]]),
        ("hairpin", {None: "unknown", True: "yes", False: "no"}[found["hairpin"]]),
        ("mapping lifetime", _lifetime(found["lifetime"])),
        ("port mapping", _mapping(found["port_mapping"], found["port_mapping_fault"])),
        ("keepalive", "-" if found["keepalive_s"] is None else f"every {found['keepalive_s']:g} s"),
        ("largest datagram", "-" if found["mtu"] is None else f"{found['mtu']} bytes"),
        ("search", f"{found['search']['datagrams']} datagrams an attempt" if found["search"]["datagrams"] else "off"),
        ("nearest peers", "\n".join(map(_peer, found["nearest"])) or "none"),
    ]
    print_table(("", ""), rows)


@click.command()
@click.argument("address")
@json_option
@click.pass_context
def why(ctx: click.Context, address: str, as_json: bool) -> None:
    """Say why the path to ADDRESS, or to a node by its id, is direct, relayed or missing."""
    body = {"node": address} if len(address) == 40 and ":" not in address else {"address": address}
    found = with_bus(ctx, lambda bus: _why(bus, body))
    if as_json:
        print_json(found)
        return
    click.echo(f"{address} at node {found['node'][:12]}: {found['reason']}")
    click.echo(f"NAT here: {found['nat']['ours']}; there: {found['nat']['theirs'] or 'not told yet'}")
    search = found["search"]
    if search["part"] or search["failures"]:
        state = f"{search['sent']} datagrams sent" if search["part"] else f"rests for {search['rests_s']:.0f} s"
        click.echo(f"search: {state}, {search['failures']} attempts failed")
    offers = found["offers"]
    if offers is not None:
        click.echo(
            f"offers: {offers['sent']} sent and {offers['answered']} answered; "
            f"{offers['received']} received, of which {offers['limited']} were too many"
        )
    if found["held_back"]:
        click.echo(f"held back: {found['held_back']} probes, as addresses that do not answer get only so many")
    if found["path"] == "overlay":
        relays = ", then ".join(f"{relay['node'][:12]} ({relay['rtt_ms']:.1f} ms)" for relay in found["relays"])
        click.echo(f"relays: {relays or 'none that both sides have a link with: by the ring'}")
    rows = [
        (
            trial["endpoint"] + (f" by socket {trial['socket']}" if trial["socket"] else ""),
            trial["outcome"],
            f"{trial['answers']} of {trial['probes']}",
            None if trial["rtt_ms"] is None else f"{trial['rtt_ms']:.1f} ms",
            f"{trial['since_s']:.0f} s ago",
        )
        for trial in found["tried"]
    ]
    print_table(("tried", "outcome", "answers", "rtt", "first"), rows)


async def _why(bus: Bus, body: JsonObject) -> dict[str, Any]:
    """The answer of the links, and what signal says of the offers: null where another module fills that role."""
    found = dict((await bus.request("link", "why", body, timeout=_LOOKUP_SECONDS)).body)
    found["offers"] = None
    with contextlib.suppress(BusError):
        found["offers"] = (await bus.request("signal", "offers", {"node": found["node"]})).body
    return found


def _family(name: str, family: JsonObject) -> list[tuple[str, str]]:
    if family["mapping"] == "unknown":
        return [(f"{name} mapping", "unknown")]
    details = [f"{family['observers']} peers"]
    if family["preserves_port"] is not None:
        details.append("keeps the port" if family["preserves_port"] else "changes the port")
    if family["step"] is not None:
        details.append(f"ports step by {family['step']}")
    if family["pooled"]:
        details.append("several outer addresses")
    return [
        (f"{name} mapping", f"{family['mapping']} ({', '.join(details)})"),
        (f"{name} outer address", family["outer"] or "-"),
        ("", family["meaning"]),
    ]


def _lifetime(lifetime: JsonObject) -> str:
    least, most = lifetime["at_least_s"], lifetime["at_most_s"]
    if least is None:
        return "not measured yet" if most is None else f"under {most:g} s"
    return f"at least {least:g} s" if most is None else f"between {least:g} and {most:g} s"


def _mapping(mapping: JsonObject | None, fault: str | None) -> str:
    if mapping is None:
        return f"none: {fault}"
    return f"{mapping['outer']} by {mapping['protocol']}, for {mapping['expires_s']} s"


def _peer(peer: JsonObject) -> str:
    rtt = "" if peer["rtt_ms"] is None else f", {peer['rtt_ms']:.1f} ms"
    return f"{peer['node'][:12]} at {peer['endpoint']}{rtt}"
