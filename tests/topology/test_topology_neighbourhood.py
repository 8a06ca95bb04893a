"""Who is next to a node, where one of its near neighbours names whom it likes."""

from __future__ import annotations

import random

import pytest

from benchmarks.overlay_net.members import Recipe
from benchmarks.overlay_net.thin import Network
from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.effects import Source
from ipop_modules.topology.protocol.keepers import SIDE
from ipop_modules.topology.protocol.messages import MAX_NEAR, Hello, encode
from ipop_modules.topology.protocol.neighbourhood import estimate_size, nearest_members, next_to
from tests.topology.rings import ring


def near_lists(size: int, seed: int) -> tuple[bytes, dict[bytes, tuple[bytes, ...]]]:
    """A node, and the near neighbours of everyone in its ring."""
    chance = random.Random(seed)
    nodes = [chance.randbytes(ids.SIZE) for _ in range(size)]
    return nodes[0], {node: nearest_members(node, [other for other in nodes if other != node]) for node in nodes}


@pytest.mark.parametrize("size", [*range(1, 12), 40, 300])
def test_where_all_tell_the_truth_all_that_is_named_counts(size: int) -> None:
    me, near = near_lists(size, size)
    lists = [near[node] for node in near[me]]
    assert next_to(me, near[me], lists, ()) == {*near[me], *(node for named in lists for node in named)} - {me}


@pytest.mark.parametrize("size", [4, 6, 8, 10, 40, 300])
@pytest.mark.parametrize("liar", range(3))
def test_what_one_near_neighbour_makes_up_displaces_none_of_the_three_on_each_side(size: int, liar: int) -> None:
    me, near = near_lists(size, size)
    at = ids.number(me)
    made_up = tuple(ids.from_number(at + step) for step in range(-MAX_NEAR // 2, MAX_NEAR // 2 + 1) if step)
    lists = [made_up if place == liar else near[node] for place, node in enumerate(near[me])]
    honest = {*near[me], *(node for named in [near[node] for node in near[me]] for node in named)} - {me}
    found = next_to(me, near[me], lists, ())
    assert not found.intersection(made_up)
    linked = next_to(me, near[me], lists, honest)
    assert nearest_members(me, linked, SIDE) == nearest_members(me, honest, SIDE)
    assert estimate_size(me, found) < 2 * estimate_size(me, honest)


@pytest.mark.parametrize("size", [6, 8, 10, 40, 300])
@pytest.mark.parametrize("liars", [(0, 1), (0, 2), (1, 3), (2, 3)])
def test_what_two_near_neighbours_make_up_together_makes_no_ring_large_and_leaves_two_places_on_each_side(
    size: int, liars: tuple[int, int]
) -> None:
    me, near = near_lists(size, size)
    at = ids.number(me)
    made_up = tuple(ids.from_number(at + step) for step in range(-MAX_NEAR // 2, MAX_NEAR // 2 + 1) if step)
    lists = [made_up if place in liars else near[node] for place, node in enumerate(near[me])]
    honest = {*near[me], *(node for named in [near[node] for node in near[me]] for node in named)} - {me}
    found = next_to(me, near[me], lists, ())
    assert len(found.intersection(made_up)) == 2
    assert set(nearest_members(me, honest, SIDE - 1)) <= set(nearest_members(me, found, SIDE))
    assert estimate_size(me, found) < 2 * estimate_size(me, honest)


def test_who_is_linked_needs_no_second_witness() -> None:
    me, near = near_lists(40, 1)
    _, second, third = ids.in_order(me, near)[:3]
    made_up = ids.from_number(ids.number(third) - 1)
    lists = [tuple(other for other in near[node] if other != third) for node in near[me]]
    lists[near[me].index(second)] = (*near[second], made_up)
    assert {third, made_up} <= next_to(me, near[me], lists, ())
    assert made_up not in next_to(me, near[me], lists, (third,))


def test_a_near_neighbours_made_up_ids_are_no_place_for_replicas_and_make_no_ring_large() -> None:
    network = Network(21, recipe=Recipe(long_links=None))
    nodes = ring(network, 24)
    victim = nodes[7]
    before, around = victim.machine.ring.size_estimate, victim.machine.ring.around(SIDE)
    liar = network.nodes[victim.machine.ring.near[0]]
    link = victim.machine.ring.links[liar.id]
    at = ids.number(victim.id)
    made_up = tuple(ids.from_number(at + step) for step in (1, 2, 3, 4, -1, -2, -3, -4))
    assert link.life is not None
    hello = Hello(True, link.life, made_up, False, order=link.order + 1)
    victim.machine.receive(encode(hello), Source(liar.id, True, liar.id), network.now)
    assert victim.machine.ring.around(SIDE) == around
    assert victim.machine.ring.size_estimate < 2 * before
