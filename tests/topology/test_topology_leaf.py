"""A leaf: it finds and is found, but others neither store with it nor go through it."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.overlay_net.thin import Network, Node
from tests.topology.rings import address, look_up, ring

LEAF = address(200)


def with_leaf(network: Network, members: list[Node]) -> Node:
    recipe = network.recipe
    network.recipe = replace(recipe, leaf=True)
    leaf = network.add()
    network.recipe = recipe
    network.claim(leaf, LEAF)
    network.contact(leaf, members[0])
    network.run_until(lambda: bool(leaf.registered), 15.0)
    network.run(6.0)
    return leaf


def test_a_leaf_finds_and_is_found() -> None:
    network = Network(1)
    members = ring(network, 12)
    leaf = with_leaf(network, members)
    for number, member in enumerate(members, start=1):
        assert look_up(network, member, LEAF).node == leaf.id
        assert look_up(network, leaf, address(number)).node == member.id
        assert network.hops(member, leaf.id) is not None
        assert network.hops(leaf, member.id) is not None


def test_a_leaf_that_gets_its_place_again_does_not_spin() -> None:
    network = Network(4)
    leaf = with_leaf(network, ring(network, 12))
    machine, registrations = leaf.machine, leaf.machine.registrations
    assert registrations is not None
    for other in sorted(leaf.links):
        network.unlink(leaf, network.nodes[other])
    assert not machine.ring.attached
    machine.ring._placed_at = network.now
    (claim,) = registrations.addresses
    claim.found, claim.checks, claim.check_at = False, 0, network.now
    machine.wake(network.now)
    assert claim.check_at > network.now


def test_nothing_rests_on_a_leaf() -> None:
    network = Network(2)
    members = ring(network, 12)
    leaf = with_leaf(network, members)
    machine = leaf.machine
    assert (machine.ring.attached, machine.ring.member, len(machine.storage.store)) == (True, False, 0)
    assert all(leaf.id not in member.machine.ring.near for member in members)
    assert network.ring_is_right(among={member.id for member in members})
    before = {(one.id, other.id): network.hops(one, other.id) for one in members for other in members}
    leaf.alive = False
    assert {(one.id, other.id): network.hops(one, other.id) for one in members for other in members} == before


def test_a_leaf_whose_neighbours_die_is_found_again() -> None:
    network = Network(3)
    members = ring(network, 12)
    leaf = with_leaf(network, members)
    dead = [member for member in members[1:] if member.id in leaf.links][:3]
    assert dead
    for member in dead:
        network.kill(member)
    network.run(40.0)
    for member in network.alive:
        if member is not leaf:
            assert look_up(network, member, LEAF).node == leaf.id
            assert network.hops(member, leaf.id) is not None
