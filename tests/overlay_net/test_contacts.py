"""First contact in virtual time is the product's: its rules show in whole nodes and in the thin model alike."""

from __future__ import annotations

import random
from typing import TypeAlias

import pytest

from benchmarks.overlay_net import full, thin
from benchmarks.overlay_net.known_peers import KnownPeers
from benchmarks.overlay_net.members import Recipe
from ipop_core.simulation import VirtualTime
from ipop_modules.signal.protocol import contact
from ipop_modules.signal.protocol.contact import FirstContact
from ipop_modules.topology.known import SAVE_AFTER
from ipop_modules.topology.protocol.records import verify_p256
from ipop_modules.topology.protocol.remembered import LONELY, Kept, Remembered
from tests.topology.rings import ring

Make: TypeAlias = type[thin.Network]
KINDS = [(thin.Network, Recipe(long_links=0)), (full.Network, Recipe(long_links=0, verify=verify_p256))]

both = pytest.mark.parametrize(("make", "recipe"), KINDS, ids=["thin", "whole"])


def late_bootstrap(make: Make, recipe: Recipe) -> float:
    """Newcomers come while their bootstrap can't be reached: seconds from when it can until there is a ring."""
    network = make(1, recipe=recipe)
    nodes = [network.add() for _ in range(3)]
    network.split({nodes[0].id}, {node.id for node in nodes[1:]})
    for node in nodes[1:]:
        network.contact(node, nodes[0])
    network.run(20.0)
    assert not any(node.links for node in nodes)
    network.mend()
    return network.run_until(network.ring_is_right, 60.0, step=0.5)


@both
def test_a_bootstrap_that_does_not_answer_is_tried_again(
    make: Make, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"one ring after {late_bootstrap(make, recipe)} s")
    monkeypatch.setattr(FirstContact, "failed", lambda self, name, fault, now, random: [])
    with pytest.raises(TimeoutError):
        late_bootstrap(make, recipe)


def split_and_mended(make: Make, recipe: Recipe) -> float:
    """Two halves are apart until they are two rings; then nobody does anything but wait: seconds until they are one."""
    network = make(1, recipe=recipe)
    nodes = ring(network, 6)
    one, other = ({node.id for node in half} for half in (nodes[:3], nodes[3:]))
    network.split(one, other)
    network.run_until(lambda: network.ring_is_right(one) and network.ring_is_right(other), 60.0)
    network.run(150.0)  # by then whoever was heard of before is forgotten
    network.mend()
    return network.run_until(network.ring_is_right, 60.0, step=0.5)


@both
def test_rings_that_were_split_are_one_again_by_their_bootstraps(
    make: Make, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"one ring after {split_and_mended(make, recipe)} s")
    monkeypatch.setattr(FirstContact, "link_down", lambda self, node, reason, now, random: [])
    monkeypatch.setattr(contact, "CONFIRM_AFTER", 1e9)
    with pytest.raises(TimeoutError):
        split_and_mended(make, recipe)


def bootstraps_kept(make: Make, recipe: Recipe) -> int:
    """Of four that a newcomer is told, how many it keeps a link to as such."""
    network = make(1, recipe=recipe)
    nodes = ring(network, 4)
    newcomer = network.add()
    for node in nodes:
        network.contact(newcomer, node)
    network.run(6.0)
    assert newcomer.contacts is not None
    return sum(one.state == "connected" for one in newcomer.contacts.machine.bootstraps)


@both
def test_so_many_bootstraps_are_kept_as_the_product_wants(
    make: Make, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bootstraps_kept(make, recipe) == contact.LINKS_WANTED
    monkeypatch.setattr(contact, "LINKS_WANTED", 4)
    assert bootstraps_kept(make, recipe) == 4


@both
def test_a_node_that_is_told_itself_lets_that_be(make: Make, recipe: Recipe) -> None:
    network = make(1, recipe=recipe)
    node, other = network.add(), network.add()
    network.contact(node, node)
    network.contact(node, other)
    network.run(10.0)
    assert node.contacts is not None
    assert sorted(one.state for one in node.contacts.machine.bootstraps) == ["connected", "self"]


def alone_without_bootstraps() -> float:
    """A node loses all its links, and nobody names bootstraps any more: seconds from when it can reach them again."""
    network = thin.Network(1)
    nodes = ring(network, 8)
    lonely = nodes[5]
    for node in nodes:
        network.forget_bootstraps(node)
    network.split({lonely.id}, {node.id for node in nodes if node is not lonely})
    network.run_until(lambda: not lonely.links, 60.0)
    network.run(150.0)  # by then whoever was heard of before is forgotten
    network.mend()
    return network.run_until(network.ring_is_right, 60.0, step=0.5)


def test_a_simulated_node_asks_when_it_has_been_alone_for_as_long_as_a_real_one() -> None:
    waited = []
    for _ in range(40):
        time = VirtualTime()
        asked: list[float] = []
        peers = KnownPeers(
            time,
            random.Random(len(waited)),
            linked=tuple,
            is_alone=lambda: True,
            connect=lambda node, endpoint, asked=asked, time=time: asked.append(time.now),  # type: ignore[misc]  # mypy can't infer a lambda's default
            kept=Kept(),
        )
        peers.note(bytes(20), "somewhere", ())
        time.run(100.0)
        peers.link_down()
        time.run_until(lambda asked=asked: bool(asked), 20.0, step=0.1)  # type: ignore[misc]  # as above
        waited.append(asked[0] - 100.0)
    print(min(waited), max(waited))
    assert min(waited) >= LONELY
    assert 2 * SAVE_AFTER - 0.5 < max(waited) <= 2 * SAVE_AFTER


def test_a_thin_node_without_links_asks_the_peers_that_it_knew(monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"one ring after {alone_without_bootstraps()} s")
    monkeypatch.setattr(Remembered, "wake", lambda self, linked, now, *, alone: [])
    with pytest.raises(TimeoutError):
        alone_without_bootstraps()
