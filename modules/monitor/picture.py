"""What the page draws, from what the roles said: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ipop_core.bus.api import JsonObject
from ipop_modules.monitor.figures import Figures

KINDS: Final = ("near", "long", "shortcut", "other")
"""Links by what they are for; the first that fits counts."""

Surveys = Mapping[str, JsonObject]
"""By node, its neighbours by kind."""


def ring(figures: Figures, surveys: Surveys) -> JsonObject:
    """Nodes and links. A link to this node tells its path; of others' links only the kind is known."""
    own = figures.core["node"]
    peers = {peer["node"]: peer for peer in figures.peers if peer["path"] != "none"}
    topology = figures.roles.get("topology", {})
    kinds = {neighbour["node"]: neighbour["kind"] for neighbour in topology.get("neighbours", ())}
    links: dict[tuple[str, str], dict[str, Any]] = {}
    for node, told in surveys.items():
        if node == own:
            continue
        for kind in KINDS:
            for other in told[kind]:
                if other in surveys and other not in (own, node):
                    _join(links, node, other, kind)
    for node, peer in peers.items():
        link = _join(links, own, node, _kind(kinds.get(node), peer["kinds"]))
        link["path"] = peer["path"]
    addresses = {own: _own_addresses(figures), **{node: list(peer["addresses"]) for node, peer in peers.items()}}
    nodes = sorted({own, *surveys, *peers})
    return {
        "own": own,
        "nodes": [{"id": node, "addresses": addresses.get(node, []), "surveyed": node in surveys} for node in nodes],
        "links": [links[pair] for pair in sorted(links)],
    }


def head(figures: Figures) -> JsonObject:
    """What stands above the picture."""
    core, topology = figures.core, figures.roles.get("topology", {})
    return {
        "node": core["node"],
        "name": core["name"],
        "version": core["version"],
        "started": core["started"],
        "namespace": core["namespace"],
        "addresses": _own_addresses(figures),
        "joined": topology.get("joined", False),
        "size": topology.get("size_estimate"),
        "members": topology.get("members"),
        "modules": [{key: module[key] for key in ("name", "state", "restarts")} for module in core["modules"]],
    }


def log(lines: Sequence[JsonObject]) -> Sequence[JsonObject]:
    """Lines with their own fields put together as `fields`."""
    own = ("time", "process", "logger", "level", "message")
    return [
        {key: line[key] for key in own if key != "logger"}
        | {"fields": {key: str(value) for key, value in line.items() if key not in (*own, "exception")}}
        for line in lines
    ]


def _join(links: dict[tuple[str, str], dict[str, Any]], one: str, other: str, kind: str) -> dict[str, Any]:
    """Both ends may tell of a link, each by its own view: the kind that comes first in KINDS counts."""
    pair = (min(one, other), max(one, other))
    link = links.setdefault(pair, {"a": pair[0], "b": pair[1], "kind": kind, "path": None})
    link["kind"] = min(link["kind"], kind, key=KINDS.index)
    return link


def _kind(place: str | None, wishes: Sequence[str]) -> str:
    if place in ("near", "long", "shortcut"):
        return str(place)
    return "shortcut" if "shortcut" in wishes else "other"


def _own_addresses(figures: Figures) -> list[str]:
    card = figures.roles.get("link", {}).get("card")
    return [str(address).partition("/")[0] for address in card["addresses"]] if card else []
