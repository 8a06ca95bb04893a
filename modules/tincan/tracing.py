"""The way to a node, link by link, as `ipop trace` shows it.

A direct path is one link. Over the overlay, packets are sent that come to their end one link further each time, on the
way that the session's datagrams take; whoever has one then says who it is. That answer is a relay's own word. What the
relays carry is sealed between the two ends.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from ipop_core.bus.api import JsonObject

from .link.protocol.overlay import HOP_LIMIT
from .link.udp import show_endpoint

if TYPE_CHECKING:
    from .module import Tincan

HOP_SECONDS: Final = 0.6
TRIES: Final = 2
MAX_SILENT: Final = 3
"""Links in a row that say nothing until the trace gives up."""


async def trace(tincan: Tincan, node: bytes) -> JsonObject:
    """The answer of the action `trace`, for a node with which there is a session."""
    session = tincan.machine.sessions.get(node)
    path = session.paths.active if session is not None else None
    is_direct = path is not None and session is not None and session.keys is not None
    hops = [await _direct(tincan, node)] if is_direct else await _over_overlay(tincan, node)
    session = tincan.machine.sessions.get(node)
    return {
        "node": node.hex(),
        "path": "direct" if is_direct else "overlay",
        "sealed": session is not None and session.keys is not None,
        "member": session is not None and session.member,
        "reached": bool(hops) and hops[-1]["node"] == node.hex(),
        "hops": hops,
    }


async def _direct(tincan: Tincan, node: bytes) -> JsonObject:
    session = tincan.machine.sessions[node]
    path = session.paths.active
    return _hop(tincan, 1, node, None if path is None else path.rtt)


async def _over_overlay(tincan: Tincan, node: bytes) -> list[JsonObject]:
    hops: list[JsonObject] = []
    silent = 0
    for number in range(1, HOP_LIMIT):
        found, rtt = await _probe(tincan, node, number)
        hops.append(_hop(tincan, number, found, rtt))
        silent = 0 if found is not None else silent + 1
        if found == node or silent >= MAX_SILENT:
            break
    return hops


async def _probe(tincan: Tincan, node: bytes, number: int) -> tuple[bytes | None, float | None]:
    """Who is so many links away, and the round trip in seconds."""
    for _ in range(TRIES):
        started = tincan.now()
        waiting = asyncio.ensure_future(
            tincan.announcements.trace(tincan.machine.trace(node, number, started), HOP_SECONDS)
        )
        await asyncio.sleep(0)  # the waiter must be known before the machine's events are told
        tincan.settle()
        try:
            return await waiting, tincan.now() - started
        except TimeoutError:
            continue
    return None, None


def _hop(tincan: Tincan, number: int, node: bytes | None, rtt: float | None) -> dict[str, Any]:
    owners = tincan.owners
    addresses = [] if owners is None else [ip for ip, owner in owners.neighbours.entries() if owner == node]
    session = None if node is None else tincan.machine.sessions.get(node)
    path = None if session is None else session.paths.active
    return {
        "hop": number,
        "node": None if node is None else node.hex(),
        "addresses": sorted(str(ip_address(address)) for address in addresses),
        "endpoint": None if path is None else show_endpoint(tincan.udp.address(path.endpoint)),
        "rtt_ms": None if rtt is None else round(rtt * 1000, 3),
    }
