"""Rings that grow as real ones do: newcomers know one bootstrap each, the rest comes of the join protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from benchmarks.overlay_net.thin import Network, Node

WAVE = 6.0
"""Seconds in which the ring grows by half."""
NODES_FOR_BOOTSTRAP = 48


@dataclass
class Overlay:
    """The nodes of one ring, and which of them newcomers are told as bootstraps."""

    network: Network
    nodes: list[Node] = field(default_factory=list)
    bootstraps: list[Node] = field(default_factory=list)
    owners: dict[bytes, Node] = field(default_factory=dict)
    """Who claimed which virtual address."""
    addresses: dict[bytes, bytes] = field(default_factory=dict)
    """The address of each node, by its id."""
    first: IPv4Address = field(default_factory=lambda: IPv4Address("10.0.0.1"))

    @property
    def alive(self) -> list[Node]:
        return [node for node in self.nodes if node.alive]

    def newcomer(self, told: int = 1) -> Node:
        """A node that claims the next address and is about to join by as many bootstraps as it is told."""
        node = self.network.add()
        self.nodes.append(node)
        address = (self.first + len(self.owners)).packed
        self.owners[address] = node
        self.addresses[node.id] = address
        self.network.claim(node, address)
        known = [bootstrap for bootstrap in self.bootstraps if bootstrap.alive]
        for _ in range(min(told, len(known))):
            bootstrap = self.network.chance.choice(known)
            known.remove(bootstrap)
            self.network.contact(node, bootstrap)
        if not self.bootstraps:
            self.bootstraps.append(node)
        return node

    def address(self, node: Node) -> bytes:
        return self.addresses[node.id]

    def grow(self, size: int) -> None:
        """Until it has so many nodes, and then until it is one ring and has settled."""
        self.swell(size)
        self.network.run_until(self.network.ring_is_right, 120.0, step=1.0)
        self.network.run(45.0)

    def swell(self, size: int) -> None:
        """Let newcomers in, half as many again in each WAVE."""
        while len(self.nodes) < size:
            wave = min(max(1, len(self.nodes) // 2), size - len(self.nodes))
            for _ in range(wave):
                self.network.after(self.network.chance.uniform(0, WAVE), self._add)
            self.network.run(WAVE + 0.1)
            if len(self.nodes) >= NODES_FOR_BOOTSTRAP * len(self.bootstraps):
                more = len(self.nodes) // NODES_FOR_BOOTSTRAP - len(self.bootstraps) + 1
                self.bootstraps += self.network.chance.sample(self.alive, more)

    def _add(self) -> None:
        self.newcomer()
