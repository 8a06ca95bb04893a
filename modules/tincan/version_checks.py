"""Which peers run another version than this node, by name or by node id, for `ipop doctor`.

A peer of another release works as long as both speak the same protocol; one that speaks another protocol is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Final

from ipop_core.bus.api import JsonObject
from ipop_core.contract import Ask, Finding

from .link.protocol.handshake import VERSION

MOST: Final = 8
"""Peers that are named."""
MEND: Final = "install the same version of IPOP everywhere"


def examine_versions(ask: Ask) -> Iterator[Finding]:
    status = ask("link", "status")
    if status is None:
        return
    peers = (ask("link", "peers") or {"peers": []})["peers"]
    others = status.get("other_versions", [])
    differs = others or any(peer.get("version") != version("ipop") for peer in peers)
    members = (ask("topology", "members") if differs else None) or {"members": []}
    yield from judge_versions(version("ipop"), peers, others, name_nodes(members["members"]))


def judge_versions(
    own: str, peers: Iterable[JsonObject], others: Iterable[JsonObject], names: Mapping[str, str]
) -> Iterator[Finding]:
    """`peers`: those in session; `others`: those refused for their protocol; `names`: how a node is called."""
    peers = list(peers)
    refused = [f"{_call(peer['node'], names)} speaks protocol {peer['protocol']}" for peer in others]
    if refused:
        found = f"{_list(refused)}; this node speaks {VERSION}, so there is no link with them"
        yield Finding(check="versions", verdict="bad", found=found, mend=MEND)
    different = [
        f"{_call(peer['node'], names)} runs {peer.get('version') or 'a version before 0.1'}"
        for peer in peers
        if peer.get("version") != own
    ]
    if different:
        found = f"{_list(different)}; this node runs {own}"
        yield Finding(check="versions", verdict="warning", found=found, mend=MEND)
    elif peers and not refused:
        found = f"{own} here and on {'the one peer' if len(peers) == 1 else f'all {len(peers)} peers'}"
        yield Finding(check="versions", verdict="good", found=found)


def name_nodes(members: Iterable[JsonObject]) -> dict[str, str]:
    """What people call the members: by host name, else by address."""
    return {item["node"]: item["name"] or (item["addresses"] or [""])[0] for item in members}


def _call(node: str, names: Mapping[str, str]) -> str:
    name = names.get(node)
    return f"{name} (node {node[:12]})" if name else f"node {node[:12]}"


def _list(items: list[str]) -> str:
    more = len(items) - MOST
    return ", ".join(items[:MOST]) + (f" and {more} more" if more > 0 else "")
