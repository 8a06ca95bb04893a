"""Bare nodes on a public segment, kept for a whole benchmark: bootstrap, ring and relays for nodes that come and go."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Final

from ipop_core.demo import programs
from ipop_core.demo.node import Node, stop
from ipop_core.identity import load_or_create
from ipop_core.lab import Laboratory, LabTimeoutError, Segment

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus

PORT: Final = 4741
NETWORK: Final = IPv4Network("198.18.0.0/16")
"""For benchmarks (RFC 2544), and large enough for hundreds of homes, one after the other."""
CONFIGURATION: Final = "bare.json"
_NEAR: Final = 4
_PATIENCE: Final = 60.0
_POLL: Final = 0.1


@dataclass(frozen=True)
class Overlay:
    public: Segment
    bootstrap: str
    bootstrap6: str | None
    """The same node's IPv6 address; None where the segment has no IPv6."""
    addresses: frozenset[str]
    """Those of every node, of both families."""
    ids: tuple[int, ...]
    nodes: tuple[Node, ...]

    def node(self, name: str) -> Node:
        """The one with this id, in hexadecimal digits."""
        return next(node for node, number in zip(self.nodes, self.ids, strict=True) if f"{number:040x}" == name)

    def revive(self, node: Node) -> None:
        """Start a node that was killed, and wait until it is in the ring again. Raises LabError."""
        node.start(programs.own("ipop-controller"), "-c", node.folder.parent / CONFIGURATION)
        wait_for(node, _is_in_its_place)


@contextmanager
def bare_overlay(count: int, *, ipv6: bool = False) -> Iterator[Overlay]:
    """Start so many nodes and wait until they have formed their ring. Raises LabError."""
    nodes: list[Node] = []
    with Laboratory() as lab:
        public = lab.segment(network=NETWORK, ipv6=ipv6)
        hosts = [lab.host(f"bare-{number}", public) for number in range(1, count + 1)]
        bootstrap = f"{hosts[0].address}:{PORT}"
        configuration = lab.folder / CONFIGURATION
        modules = {"tincan": {"card": None}, "topology": {}, "signal": {"bootstraps": [bootstrap]}, "logger": {}}
        configuration.write_text(json.dumps({"node": {"name": "bare"}, "modules": modules}))
        try:
            for host in hosts:
                folder = lab.folder / host.name
                folder.mkdir()
                nodes.append(Node(host.name, "bare", host, folder))
                nodes[-1].start(programs.own("ipop-controller"), "-c", configuration)
            for node in nodes:
                wait_for(node, _is_in_its_place)
            ids = tuple(int.from_bytes(load_or_create(node.state).node) for node in nodes)
            bootstrap6 = f"[{hosts[0].address6}]:{PORT}" if ipv6 else None
            addresses = [address for host in hosts for address in (host.address, host.address6) if address]
            yield Overlay(public, bootstrap, bootstrap6, frozenset(addresses), ids, tuple(nodes))
        finally:
            stop(nodes)


def ask(node: Node, role: str, action: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer of a running node's module. Raises NodeError and BusError."""

    async def work(bus: Bus) -> dict[str, Any]:
        return dict((await bus.request(role, action, body or {})).body)

    return asyncio.run(node.ask(work))


def wait_for(node: Node, ready: Any, role: str = "topology") -> None:
    """Return once the status of a node's role is as `ready` wants it. Raises LabTimeoutError."""
    deadline = time.monotonic() + _PATIENCE
    while not ready(status := ask(node, role, "status")):
        if time.monotonic() > deadline:
            raise LabTimeoutError(f"{node.name} is not ready after {_PATIENCE:g} s: {status}\n{node.log()}")
        time.sleep(_POLL)


def _is_in_its_place(ring: dict[str, Any]) -> bool:
    near = sum(neighbour["kind"] == "near" for neighbour in ring["neighbours"])
    return bool(ring["joined"]) and near >= _NEAR
