"""Nodes that start again when every bootstrap is gone for good, with nothing but the peers on their disks.

Whom they ask then is the product's rule (`remembered.py`).
"""

from __future__ import annotations

from ipaddress import IPv4Address

from benchmarks.overlay_net import thin
from benchmarks.overlay_net.growing import Overlay
from benchmarks.overlay_net.members import NAMESPACE_KEY
from benchmarks.overlay_net.thin import Node
from ipop_modules.topology.protocol.remembered import MOST

STOPPED = 5.0
PATIENCE = 120.0


class Network(thin.Network):
    """Nodes that stop can be started again."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, latency=0.05)
        self._keys: dict[bytes, bytes] = {}

    def add(self, *, member: bool = True, key: bytes | None = None, namespace: bytes = NAMESPACE_KEY) -> Node:
        key = key or self.chance.randbytes(91)
        node = super().add(member=member, key=key, namespace=namespace)
        self._keys[node.id] = key
        return node

    def start_again(self, node: Node) -> Node:
        """One that has left: its id and its disk are what they were."""
        again = self.add(key=self._keys[node.id])
        self.known[again.id].start()
        return again


def orphaned(network: Network, size: int, back: int) -> float:
    """So many of a ring stop, all bootstraps die, and they start again: seconds until there is one ring.

    Raises TimeoutError.
    """
    overlay = Overlay(network)
    overlay.grow(size)
    stopped = network.chance.sample([node for node in overlay.alive if node not in overlay.bootstraps], back)
    for node in stopped:
        network.leave(node)
    for node in overlay.bootstraps:
        network.kill(node)
    network.run(STOPPED)
    for node in stopped:
        network.claim(network.start_again(node), overlay.address(node))
    return network.run_until(network.ring_is_right, PATIENCE, step=0.5)


def attacked(network: Network, size: int) -> float:
    """One of a ring is linked by all nodes of another one, as long as it remembers any of them; then as above.

    Raises TimeoutError where it finds back into no ring but theirs.
    """
    overlay, others = Overlay(network), Overlay(network, first=IPv4Address("10.1.0.1"))
    for grown, nodes in ((overlay, size), (others, MOST)):
        grown.swell(nodes)
    network.run_until(lambda: all(map(network.ring_is_right, _ids(overlay, others))), PATIENCE, step=1.0)
    victim = network.chance.choice([node for node in overlay.alive if node not in overlay.bootstraps])
    for other in others.nodes:
        network.known[victim.id].note(other.id, other.id.hex(), ())
    network.leave(victim)
    for node in overlay.bootstraps:
        network.kill(node)
    network.run(STOPPED)
    network.start_again(victim)
    return network.run_until(network.ring_is_right, PATIENCE, step=0.5)


def _ids(*overlays: Overlay) -> list[set[bytes]]:
    return [{node.id for node in overlay.nodes} for overlay in overlays]
