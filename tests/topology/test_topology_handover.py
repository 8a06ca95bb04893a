"""Whoever should hold a record has it soon after the ring has changed; a neighbour that lies brings little about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.overlay_net.members import LEASE, NAMESPACE_KEY
from benchmarks.overlay_net.thin import Network, Node
from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.effects import Effect, Send, Source
from ipop_modules.topology.protocol.handover import LOOKED_EVERY
from ipop_modules.topology.protocol.keepers import REPLICAS, SIDE, Keepers
from ipop_modules.topology.protocol.messages import Hello, Replicate, decode, encode
from ipop_modules.topology.protocol.neighbourhood import nearest_members
from ipop_modules.topology.protocol.records import Record, address_key
from tests.topology.rings import address, ring

node_ids = st.integers(0, 40).map(ids.from_number) | st.binary(min_size=ids.SIZE, max_size=ids.SIZE)


@given(st.sets(node_ids, min_size=1, max_size=20), node_ids)
def test_a_key_is_kept_by_the_nearest_and_three_on_each_side_of_it(known: set[bytes], key: bytes) -> None:
    first = ids.closest(key, known)
    assert first is not None
    kept = Keepers(known).of(key)
    assert set(kept) == {first, *nearest_members(first, known, SIDE)}
    assert len(kept) == min(len(known), REPLICAS)


def without_their_record(network: Network, owners: dict[bytes, Node]) -> int:
    """Of how many addresses somebody who should hold the record has none."""
    alive = [node.id for node in network.alive]
    return sum(
        any(owner.id not in claims_at(network, holder, key) for holder in Keepers(alive).of(key))
        for key, owner in owners.items()
        if owner.alive
    )


def claims_at(network: Network, holder: bytes, key: bytes) -> list[bytes]:
    copies = network.nodes[holder].machine.storage.store.get("one", key, network.now)
    return [copy.record.owner for copy in copies]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_when_some_have_died_those_who_should_hold_a_record_now_have_it(seed: int) -> None:
    """The ring is older than two leases: what start-up spread about is gone."""
    network = Network(seed)
    nodes = ring(network, 32)
    owners = {address_key(NAMESPACE_KEY, address(number)): node for number, node in enumerate(nodes, start=1)}
    network.run(2.2 * LEASE)
    assert without_their_record(network, owners) == 0
    for node in network.chance.sample(nodes[1:], 8):
        network.kill(node)
        network.run(15.0)
    network.run_until(network.ring_is_right, 30.0)
    network.run(2 * LOOKED_EVERY)
    assert without_their_record(network, owners) == 0


class Flickering:
    """A member whose second neighbour says ever again that another has come between them and the next, and has gone.

    Each time the first neighbour on the other side is to hold records that it was not to hold just before.
    """

    def __init__(self) -> None:
        self.network = Network(3)
        nodes = sorted(ring(self.network, 24), key=lambda node: node.id)
        self.network.run(20.0)
        third, self.liar, next_one, self.node, self.first = (node.id for node in nodes[8:13])
        self.machine = self.network.nodes[self.node].machine
        here, there = ids.number(self.liar), ids.number(third)
        gap = here - there
        made_up = ids.from_number(here - gap // 8)
        true = self.machine.ring.links[self.liar].near
        assert set(true) == {nodes[7].id, third, next_one, self.node}
        self._lists = (tuple(made_up if other == third else other for other in true), true)
        self._order = 1_000_000
        self.now = self.network.now
        for step in range(20):
            key = ids.from_number(here - gap // 4 - step)
            self.machine.storage.store.put(
                Record("one", key, b"%d" % step, 1, 1, 600, b"", b""), 600, self.first, self.now
            )

    def say(self, every: float = LOOKED_EVERY) -> list[tuple[bytes, Record]]:
        """One lie and the truth again; who is handed what because of these."""
        link, effects = self.machine.ring.links[self.liar], list[Effect]()
        for near in self._lists:
            self._order += 1
            hello = Hello(True, link.life or 0, near, False, order=self._order)
            effects += self.machine.receive(encode(hello), Source(self.liar, True, self.liar), self.now)
            if self.machine.next_wake() <= self.now:
                effects += self.machine.wake(self.now)
            self.now += every
        told = [(effect.to, decode(effect.payload)) for effect in effects if isinstance(effect, Send)]
        return [(to, copy.record) for to, message in told if isinstance(message, Replicate) for copy in message.copies]


def test_who_says_that_others_come_and_go_has_nothing_handed_over_twice() -> None:
    flickering = Flickering()
    handed = [record for _ in range(10) for record in flickering.say()]
    assert len(handed) == len(set(handed))
    assert sum(to == flickering.first and record.sequence == 1 for to, record in handed) == 20


def test_who_says_ever_again_that_others_come_and_go_has_everything_looked_through_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flickering, looked = Flickering(), list[bool]()
    store = flickering.machine.storage.store
    places = store.places
    monkeypatch.setattr(store, "places", lambda: looked.append(True) or places())
    for _ in range(100):
        flickering.say(every=0.1)
    assert len(looked) <= 1 + 2 * 100 * 0.1 / LOOKED_EVERY
    assert len(looked) > 1
