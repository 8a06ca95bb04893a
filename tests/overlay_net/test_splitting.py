"""A network that is split and mended means the same for whole nodes and for the thin model."""

from __future__ import annotations

from typing import TypeAlias

import pytest

from benchmarks.overlay_net import full, scenarios, thin
from benchmarks.overlay_net.growing import Overlay
from benchmarks.overlay_net.members import Recipe
from ipop_core.lab.nat import NatKind
from ipop_core.simulated_nat import SimulatedNat
from ipop_core.simulation import World
from ipop_modules.topology.protocol.records import verify_p256
from tests.topology.rings import ring

Make: TypeAlias = type[thin.Network]
KINDS = [(thin.Network, Recipe()), (full.Network, Recipe(verify=verify_p256))]


@pytest.mark.parametrize(("make", "recipe"), KINDS, ids=["thin", "whole"])
def test_links_across_end_and_come_again_once_the_halves_have_met(make: Make, recipe: Recipe) -> None:
    network = make(1, recipe=recipe)
    nodes = ring(network, 6)
    one, other = ({node.id for node in half} for half in (nodes[:3], nodes[3:]))
    assert across(network, one, other) > 0
    network.split(one, other)
    network.run_until(lambda: network.ring_is_right(one) and network.ring_is_right(other), 60.0)
    assert across(network, one, other) == 0
    network.contact(nodes[0], nodes[3])
    network.run(10.0)
    assert across(network, one, other) == 0
    network.mend()
    network.contact(nodes[0], nodes[3])
    network.run_until(network.ring_is_right, 60.0)


def across(network: thin.Network, one: set[bytes], other: set[bytes]) -> int:
    return sum(len(network.nodes[node].links & other) for node in one)


def test_who_has_no_link_in_its_half_of_a_partition_goes_to_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    overlay = scenarios.grown(24, 1)
    lonely = overlay.alive[5]
    others = [node for node in overlay.alive if node is not lonely and node.id not in lonely.links]
    assert len(others) > 4
    monkeypatch.setattr(overlay.network.chance, "sample", lambda *_: [lonely, *others])
    inside, outside = scenarios.halves(overlay)
    assert lonely.id in outside
    assert inside
    assert inside | outside == {node.id for node in overlay.alive}
    assert not inside & outside


def test_what_is_sent_to_a_routers_port_is_for_the_host_behind_it() -> None:
    inside, outside = ("10.0.0.7", 4741), ("192.0.2.1", 4741)
    world = World(seed=1)
    world.nats.put(inside[0], SimulatedNat(NatKind.FULL_CONE, "203.0.113.7", world.chance))
    seen: list[tuple[str, int]] = []
    came: list[bytes] = []
    world.attach(outside, lambda data, segment, source: seen.append(source))
    world.attach(inside, lambda data, segment, source: came.append(data))
    world.send(inside, outside, b"hello", 1200)
    world.run(1.0)
    world.weather.split({inside[0]}, {outside[0]})
    world.send(outside, seen[0], b"lost", 1200)
    world.run(1.0)
    world.weather.mend()
    world.send(outside, seen[0], b"come", 1200)
    world.run(1.0)
    assert came == [b"come"]


@pytest.mark.slow
def test_whole_nodes_that_were_split_are_one_ring_again() -> None:
    overlay = Overlay(full.Network(1, latency=scenarios.LATENCY, recipe=Recipe(long_links=None, verify=verify_p256)))
    overlay.grow(12)
    figures = scenarios.partition(overlay)
    print(figures)
    assert (figures["partition_wrong"], figures["partition_success_after"]) == (0, 1.0)
