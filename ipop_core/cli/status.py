"""`ipop status`: what the node is, how it is, and what is wrong with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from ipop_core.cli.client import with_bus
from ipop_core.cli.output import json_option, print_facts, print_json, show_duration
from ipop_core.errors import BusError
from ipop_core.loader import Registry

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus

Facts = Iterator[tuple[str, object]]
Body = Mapping[str, Any]


@click.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show this node: its card, its ring, who else is there. Exit code 1 when something is wrong."""
    found = with_bus(ctx, _gather)
    found["problems"] += _left_over(found)
    if as_json:
        print_json(found)
    else:
        print_facts(_facts(found))
    if found["problems"]:
        ctx.exit(1)


def _left_over(found: Mapping[str, Any]) -> list[str]:
    card = found["roles"].get("link", {}).get("card")
    if not card:
        return []
    configured = [module["name"] for module in found["core"]["modules"]]
    return [f"{item.found}; to end it: {item.mend}" for item in Registry().leftovers(configured, card["name"])]


async def _gather(bus: Bus) -> dict[str, Any]:
    core = (await bus.request("core", "status")).body
    roles = sorted(module["role"] for module in core["modules"])
    answers = dict(zip(roles, await asyncio.gather(*(_role_status(bus, role) for role in roles)), strict=True))
    found = {role: body for role, body in answers.items() if body is not None}
    return {"core": dict(core), "roles": found, "problems": list(_problems(core, found))}


async def _role_status(bus: Bus, role: str) -> dict[str, Any] | None:
    """The role's own answer; `{"error": ...}` when it gives none, None when it has no such action."""
    try:
        return dict((await bus.request(role, "status", timeout=2)).body)
    except BusError as error:
        return None if error.code == "unknown-action" else {"error": error.message}


def _problems(core: Body, roles: Mapping[str, Body]) -> Iterator[str]:
    for module in core["modules"]:
        if module["state"] != "running":
            yield f"the module {module['name']} is {module['state']}"
    for role, body in roles.items():
        if "error" in body:
            yield f"the role {role} does not answer: {body['error']}"
    card = roles.get("link", {}).get("card") or {}
    if card.get("blocked"):
        yield f"nothing passes the card {card['name']}: {card['blocked']}"
    topology, signal = roles.get("topology", {}), roles.get("signal", {})
    if topology.get("joined") is False and signal.get("bootstraps"):
        yield "this node is not in the ring yet"
    for item in topology.get("registered", ()):
        if item["state"] == "taken":
            yield f"the address {item['address']} belongs to another node ({item.get('owner') or 'unknown'})"
    name = topology.get("name")
    if name and name["state"] == "taken":
        yield f"the name {name['name']} belongs to another node ({name['owner']})"


def _facts(found: Mapping[str, Any]) -> Facts:
    core, roles = found["core"], found["roles"]
    yield "node", f"{core['node']} ({core['name']}, pid {core['pid']}, version {core['version']})"
    yield "up for", show_duration(time.time() - core["started"])
    yield "namespace", core["namespace"]
    for role, body in roles.items():
        if "error" in body:
            continue
        yield from VIEWS[role](core, body) if role in VIEWS else _other_facts(role, body)
    for module in core["modules"]:
        restarts = f", restarted {module['restarts']} times" if module["restarts"] else ""
        yield f"module {module['name']}", f"{module['state']}{restarts}"
    for problem in found["problems"]:
        yield "problem", problem


def card_line(link: Body) -> str:
    """The card of the role link's `status`, in a few words."""
    card = link.get("card")
    if not card:
        return "none"
    return " ".join([str(card.get("name", "")), *map(str, card.get("addresses", ()))])


def _link_facts(_: Body, body: Body) -> Facts:
    yield "card", card_line(body)
    yield "listening", body["listening"]
    yield "seen as", body["observed"]
    yield "sessions", len(body["sessions"]) if isinstance(body["sessions"], list) else body["sessions"]
    yield from _counters(body["counters"])


def _topology_facts(core: Body, body: Body) -> Facts:
    neighbours = len(body["neighbours"])
    joined = f"joined, {neighbours} neighbours, about {body['size_estimate']} nodes" if body["joined"] else "not joined"
    yield "ring", joined
    for item in body["registered"]:
        yield "address", f"{item['address']} {item['state']}"
    if body.get("name"):
        yield "name", f"{body['name']['name']} {body['name']['state']}"
    yield from _counters({name: count for name, count in body.get("counters", {}).items() if name.startswith("drop_")})
    if core["namespace"] is None:
        return
    if body["members"] == 0:
        yield "members", f"nobody else is in namespace {core['namespace']}: check its spelling"
    else:
        yield "members", "not known yet" if body["members"] is None else f"{body['members']} others"


def _signal_facts(_: Body, body: Body) -> Facts:
    for item in body["bootstraps"]:
        if item["state"] == "self":
            yield "bootstrap", f"{item['name']} is this node itself"
            continue
        fault = f": {item['fault']}" if item.get("fault") else ""
        yield "bootstrap", f"{item['name']} {item['state']}{fault}"


def _other_facts(role: str, body: Body) -> Facts:
    for key, value in body.items():
        if key == "counters" and isinstance(value, Mapping):
            yield from _counters(value)
        else:
            yield f"{role} {key}", value


def _counters(counters: Mapping[str, Any]) -> Facts:
    """What was counted at all."""
    for name, count in counters.items():
        if isinstance(count, Mapping):
            yield from ((f"{name} {inner}", value) for inner, value in count.items() if value)
        elif count:
            yield name, count


VIEWS = {"link": _link_facts, "topology": _topology_facts, "signal": _signal_facts}
