"""The overlay in virtual time: the figures come of the product's rules, and of the seed alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchmarks.overlay_net import full, scenarios, thin
from benchmarks.overlay_net.growing import Overlay
from benchmarks.overlay_net.members import NAMESPACE_KEY, Recipe
from ipop_core.lab.nat import NatKind
from ipop_core.simulated_nat import SimulatedNat
from ipop_core.simulation import World
from ipop_modules.signal.protocol.rendezvous import Rendezvous
from ipop_modules.tincan.link.protocol import forwarding
from ipop_modules.topology.protocol import ids, longlinks, lookup, ring
from ipop_modules.topology.protocol.longlinks import LongLinks
from ipop_modules.topology.protocol.lookahead import Lookahead
from ipop_modules.topology.protocol.records import address_key
from ipop_modules.topology.protocol.storage import Storage
from tests.topology.rings import ring as small_ring

SIZE = 72


@pytest.fixture(scope="module")
def whole() -> scenarios.Figures:
    return scenarios.routes(scenarios.grown(SIZE, 1))


@pytest.mark.slow
def test_without_lookahead_routes_are_longer(whole: scenarios.Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lookahead, "hops", lambda self, neighbours: {node: node for node in neighbours})
    broken = scenarios.routes(scenarios.grown(SIZE, 1))
    print(whole, broken)
    assert broken["hops_mean"] > 1.1 * whole["hops_mean"]


@pytest.mark.slow
def test_without_long_links_routes_are_longer(whole: scenarios.Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LongLinks, "wanted", property(lambda self: 0))
    broken = scenarios.routes(scenarios.grown(SIZE, 1))
    assert broken["links_mean"] < whole["links_mean"] - 4
    assert broken["hops_mean"] > whole["hops_mean"]


@pytest.mark.slow
def test_nobody_is_given_more_long_links_than_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everyone draws the same point."""
    monkeypatch.setattr(longlinks, "long_point", lambda me, size, random: bytes(20))
    with_cap = most_inbound()
    monkeypatch.setattr(longlinks, "SPARE", 1000)
    assert most_inbound() > with_cap + 10


def most_inbound() -> int:
    overlay = scenarios.grown(48, 1)
    return max(sum(link.long for link in node.machine.ring.links.values()) for node in overlay.nodes)


@pytest.mark.slow
def test_a_ring_whose_nodes_ask_nobody_for_their_place_does_not_come_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring.Ring, "on_join", lambda self, join, sender, now: None)
    with pytest.raises(TimeoutError):
        scenarios.grown(16, 1)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_figures_in_every_process() -> None:
    figures = []
    for hashing in ("1", "2"):
        command = [sys.executable, "-m", "benchmarks.overlay", "--nodes", "24", "--seed", "5", "--json"]
        run = subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": hashing}, check=True, capture_output=True, text=True
        )
        figures.append({name: value for name, value in json.loads(run.stdout).items() if name not in COSTS})
    assert figures[0] == figures[1]


COSTS = ("cpu_s", "memory_gb")


def test_where_the_links_hand_on_nothing_no_ring_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    assert small_ring(thin.Network(1, recipe=Recipe()), 6)
    monkeypatch.setattr(forwarding, "carries", lambda routes, packet, step: False)
    with pytest.raises(TimeoutError):
        small_ring(thin.Network(1, recipe=Recipe()), 6)


def test_a_host_behind_a_nat_is_reached_by_whom_it_has_asked() -> None:
    inside, outside, stranger = ("10.0.0.7", 4741), ("192.0.2.1", 4741), ("192.0.2.2", 4741)
    world = World(seed=1)
    world.nats.put(inside[0], SimulatedNat(NatKind.PORT_RESTRICTED, "203.0.113.7", world.chance))
    came: dict[tuple[str, int], list[tuple[str, int]]] = {inside: [], outside: []}
    for place, sources in came.items():
        world.attach(place, lambda data, segment, source, sources=sources: sources.append(source))  # type: ignore[misc]  # mypy can't infer a lambda's default
    world.send(inside, outside, b"anyone there?", 1200)
    world.run(1.0)
    (seen,) = came[outside]
    assert seen[0] == "203.0.113.7"
    for source in (outside, stranger):
        world.send(source, seen, b"hello", 1200)
    world.run(1.0)
    assert came[inside] == [outside]


@pytest.mark.slow
def test_whole_nodes_whose_links_answer_no_offer_form_no_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rendezvous, "receive", lambda self, *args: [])
    overlay = Overlay(full.Network(3, latency=0.05))
    with pytest.raises(TimeoutError):
        overlay.grow(4)


def test_the_network_delays_loses_and_splits_as_told() -> None:
    here, there = ("192.0.2.1", 1), ("192.0.2.2", 1)
    world = World(seed=1, latency=0.1)
    came: list[tuple[float, bytes]] = []
    world.attach(there, lambda data, segment, source: came.append((world.now, data)))
    world.send(here, there, b"one", 1200)
    world.run(1.0)
    assert [data for _, data in came] == [b"one"]
    assert 0.1 <= came[0][0] <= 0.15
    world.weather.split({here[0]}, {there[0]})
    world.send(here, there, b"lost", 1200)
    world.run(1.0)
    world.weather.mend()
    world.send(here, there, b"two", 1200)
    world.run(1.0)
    assert [data for _, data in came] == [b"one", b"two"]
    world.weather.loss = 0.5
    for _ in range(200):
        world.send(here, there, b"x", 1200)
    world.run(1.0)
    assert 60 < len(came) - 2 < 140
    world.detach(there)
    before = len(came)
    world.send(here, there, b"x", 1200)
    world.run(1.0)
    assert len(came) == before


@pytest.mark.slow
@pytest.mark.parametrize("rules", [("_replicate",), ("hand_over", "complete")])
def test_without_replicas_or_those_handed_to_neighbours_the_dead_take_addresses_with_them(
    rules: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scenarios.deaths(scenarios.grown(24, 2))
    for rule in rules:
        monkeypatch.setattr(Storage, rule, lambda self, *args: None)
    broken = scenarios.deaths(scenarios.grown(24, 2))
    print(whole, broken)
    assert missed_meanwhile(broken) >= 10 + missed_meanwhile(whole)


def missed_meanwhile(figures: scenarios.Figures) -> float:
    return (figures["deaths_meanwhile_absent"] or 0) + (figures["deaths_meanwhile_unanswered"] or 0)


@pytest.mark.slow
def test_where_one_storers_word_is_enough_liars_are_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scenarios.liars(scenarios.grown(48, 1))
    monkeypatch.setattr(lookup, "ENOUGH", 1)
    broken = scenarios.liars(scenarios.grown(48, 1))
    print(whole, broken)
    assert (broken["liars_open_wrong"] or 0) >= 20 + (whole["liars_open_wrong"] or 0)


def test_that_an_owned_address_is_nobodys_is_no_missing_answer() -> None:
    overlay = scenarios.grown(24, 1, kind="authority")
    network, owner = overlay.network, overlay.nodes[-1]
    key = address_key(NAMESPACE_KEY, overlay.address(owner))
    without = [node for node in overlay.nodes if not node.machine.storage.store.get("one", key, network.now)]
    asker = max(without, key=lambda node: ids.distance(node.id, key))
    for node in overlay.nodes:
        node.lies = scenarios.Liar(network, NAMESPACE_KEY, "nothing")
    told_nobody, told_nothing = scenarios.Tally(), scenarios.Tally()
    scenarios.look_up(overlay, told_nobody, asker, overlay.address(owner))
    network.run(3.0)
    network.weather.loss = 1.0
    scenarios.look_up(overlay, told_nothing, asker, overlay.address(owner))
    network.run(3.0)
    assert told_nobody == scenarios.Tally(absent=1)
    assert told_nothing == scenarios.Tally(unanswered=1)
    assert told_nobody.figures("lookup") == {"lookup_wrong": 0, "lookup_absent": 1, "lookup_unanswered": 0}


@pytest.mark.slow
def test_a_ring_that_was_split_is_one_again_where_nodes_ask_for_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a small ring, near neighbours' lists are enough for that: so many nodes are needed to see it fail, mostly.

    Not with every seed: now and then the halves grow together without it, too.
    """
    figures = scenarios.partition(scenarios.grown(96, 1))
    print(figures)
    assert (figures["partition_wrong"], figures["partition_success_after"]) == (0, 1.0)

    def grows_together_without(seed: int) -> bool:
        overlay = scenarios.grown(96, seed)
        with monkeypatch.context() as patch:
            patch.setattr(ring.Ring, "on_join", lambda self, join, sender, now: None)
            try:
                scenarios.partition(overlay)
            except TimeoutError:
                return False
        return True

    assert not all(map(grows_together_without, (1, 2, 3)))
