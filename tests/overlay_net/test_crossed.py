"""Two nodes want a link to each other at the same time: they get one, with one pair of keys, and it counts once."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest

from benchmarks.overlay_net import full, thin
from benchmarks.overlay_net.members import Recipe
from ipop_modules.tincan.link.protocol import events
from ipop_modules.topology.protocol import longlinks
from ipop_modules.topology.protocol.effects import Connect
from ipop_modules.topology.protocol.records import verify_p256
from tests.topology.rings import ring


class Network(full.Network):
    """Counts what its links tell, and keeps what they carry."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, latency=0.05, recipe=Recipe(long_links=0, verify=verify_p256))
        self.told: Counter[tuple[type, bytes, bytes]] = Counter()
        self.heard: list[tuple[bytes, bytes, bytes]] = []

    def _take(self, node: full.Node, event: events.Event) -> None:
        if isinstance(event, events.LinkUp | events.LinkDown | events.SessionClosed):
            self.told[type(event), node.id, event.node] += 1
        if isinstance(event, events.RoleData) and event.role == "test":
            self.heard.append((event.sender, node.id, bytes(event.data)))
        super()._take(node, event)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_both_connect_at_once_over_the_ring(seed: int) -> None:
    network = Network(seed)
    nodes = list(map(full.whole, ring(network, 12)))
    network.run(60.0)  # links that were needed on the way here are closed
    one, other = next(pair for pair in combinations(nodes, 2) if pair[0].id not in pair[1].links)
    network.told.clear()
    for here, there in ((one, other), (other, one)):
        network.perform(here, [Connect(there.id, None, "long")])
    network.run(5.0)
    for here, there in ((one, other), (other, one)):
        assert here.transport.sessions[there.id].direct
        assert [network.told[kind, here.id, there.id] for kind in (events.LinkUp, events.LinkDown)] == [1, 0]
        assert not here.waiting
        here.transport.send_role(there.id, "test", here.id, network.now, direct_only=True)
        network.perform(here, [])
    network.run(1.0)
    assert sorted(network.heard) == sorted([(one.id, other.id, one.id), (other.id, one.id, other.id)])
    mine, theirs = one.transport.sessions[other.id].keys, other.transport.sessions[one.id].keys
    assert mine and theirs
    assert (mine.pair.local_rid, mine.pair.remote_rid) == (theirs.pair.remote_rid, theirs.pair.local_rid)
    assert mine.handshake_hash == theirs.handshake_hash


def test_a_long_link_that_both_wish_for_is_one_of_the_lower_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one draws another: a link that counted for both would leave each with fewer than it wants."""
    network = thin.Network(2, recipe=Recipe(long_links=0))
    nodes = sorted(ring(network, 16), key=lambda node: node.id)
    low, high = next((one, other) for one, other in combinations(nodes, 2) if other.id not in one.links)
    points = {low.id: high.id, high.id: low.id}
    monkeypatch.setattr(longlinks, "long_point", lambda me, size, random: points.get(me, me))
    for node in (low, high):
        node.machine.ring._long._count = 1 + node.machine.ring._long._outbound()
        node.machine.ring._long._again(network.now)
        network.perform(node, [])
    network.run_until(lambda: high.id in low.links, 5.0)
    assert all(network.attempts[node.id] for node in (low, high)), "both have begun"
    network.run(5.0)
    assert high.id in low.machine.ring._long
    assert low.id not in high.machine.ring._long
    assert dict(low.machine.ring.neighbours())[high.id] == dict(high.machine.ring.neighbours())[low.id] == "long"
    assert low.id in high.links
    third = next(node for node in nodes if node.id not in {*high.links, high.id})
    points[high.id] = third.id
    network.run_until(lambda: third.id in high.machine.ring._long, 2 * longlinks.LONGEST)
