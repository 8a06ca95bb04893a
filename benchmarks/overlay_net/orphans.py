"""Nodes that start again when every bootstrap is gone for good, with nothing but the peers on their disks.

The product's rule of who is remembered and asked (`remembered.py`) drives first contact; the rest is `thin.py`'s.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from benchmarks.overlay_net import thin
from benchmarks.overlay_net.growing import Overlay
from benchmarks.overlay_net.members import NAMESPACE_KEY
from benchmarks.overlay_net.thin import Node
from ipop_modules.topology.known import HELD, KIND, SAVE_AFTER
from ipop_modules.topology.protocol.effects import Connect, Effect
from ipop_modules.topology.protocol.remembered import MOST, Kept, Remembered

STOPPED = 5.0
PATIENCE = 120.0


class Network(thin.Network):
    """Each node remembers its peers; those that were started again ask them."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, latency=0.05)
        self.kept: dict[bytes, Kept] = {}
        self.remembered: dict[bytes, Remembered] = {}
        self._keys: dict[bytes, bytes] = {}

    def add(self, *, member: bool = True, key: bytes | None = None, namespace: bytes = NAMESPACE_KEY) -> Node:
        key = key or self.chance.randbytes(91)
        node = super().add(member=member, key=key, namespace=namespace)
        self._keys[node.id] = key
        kept = self.kept.setdefault(node.id, Kept())
        self.remembered[node.id] = Remembered(kept, self.chance.randbytes, self.now)
        return node

    def start_again(self, node: Node) -> Node:
        """One that has left: its id and its disk are what they were."""
        again = self.add(key=self._keys[node.id])
        self.after(SAVE_AFTER, self._ask, again)
        return again

    def perform(self, node: Node, effects: list[Effect]) -> None:
        super().perform(node, effects)
        for effect in effects:
            if isinstance(effect, Connect) and effect.node in node.links:
                self._note(node, effect.node)

    def _link(self, one: Node, other: Node) -> None:
        super()._link(one, other)
        for here, there in ((one, other), (other, one)):
            if there.id in here.links:
                self._note(here, there.id)

    def _note(self, node: Node, other: bytes) -> None:
        kinds = {kind for wanted, kind in node.wishes if wanted == other}
        self.remembered[node.id].note(other.hex(), "", kinds, {linked.hex() for linked in node.links})

    def _ask(self, node: Node) -> None:
        linked = {other.hex() for other in node.links}
        for text, _ in self.remembered[node.id].wake(linked, self.now, alone=node.machine.ring.is_alone):
            wish = bytes.fromhex(text), KIND
            node.wishes.add(wish)
            self.after(2 * self.weather.delay(), self._link, node, self.nodes[wish[0]])
            self.after(HELD, node.wishes.discard, wish)
        self.after(SAVE_AFTER, self._ask, node)


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
        network.remembered[victim.id].note(other.id.hex(), "", (), ())
    network.leave(victim)
    for node in overlay.bootstraps:
        network.kill(node)
    network.run(STOPPED)
    network.start_again(victim)
    return network.run_until(network.ring_is_right, PATIENCE, step=0.5)


def _ids(*overlays: Overlay) -> list[set[bytes]]:
    return [{node.id for node in overlay.nodes} for overlay in overlays]
