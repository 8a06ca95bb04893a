from __future__ import annotations

import pytest

from benchmarks.overlay_net.thin import Network, Node
from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.effects import Source
from ipop_modules.topology.protocol.messages import Hello, encode


def grow(network: Network, size: int, *, apart: float = 0.0, member: bool = False) -> list[Node]:
    first = network.add(member=member)
    nodes = [first]
    for index in range(1, size):
        node = network.add(member=member)
        nodes.append(node)
        network.after(index * apart, network.contact, node, first)
    network.run(size * apart)
    return nodes


@pytest.mark.parametrize("size", [*range(2, 13), 16, 32])
def test_nodes_that_start_together_form_one_ring(size: int) -> None:
    network = Network(size)
    grow(network, size)
    took = network.run_until(network.ring_is_right, 15.0)
    print(f"{size} nodes: {took:.2f} s")
    network.run(60.0)
    assert network.ring_is_right()


def test_a_newcomer_is_in_an_established_ring_at_once() -> None:
    network = Network(5)
    nodes = grow(network, 16, apart=0.3)
    network.run_until(network.ring_is_right, 15.0)
    newcomer = network.add(member=False)
    network.contact(newcomer, nodes[0])
    took = network.run_until(lambda: newcomer.member, 2.0)
    print(f"joined after {took:.2f} s at 20 ms a link")
    assert took < 0.8
    network.run_until(network.ring_is_right, 2.0)


def test_a_node_alone_becomes_a_ring_of_one() -> None:
    network = Network(1)
    node = network.add(member=False)
    network.run(2.0)
    assert not node.member
    network.run(2.0)
    assert node.member
    assert node.machine.ring.size_estimate == 1


def test_two_newcomers_that_only_know_each_other_form_a_ring() -> None:
    network = Network(2)
    one, other = network.add(member=False), network.add(member=False)
    network.contact(one, other)
    network.contact(other, one)
    network.run_until(network.ring_is_right, 3.0)


@pytest.mark.parametrize("seed", range(2))
def test_messages_get_lost_and_the_ring_is_right_all_the_same(seed: int) -> None:
    network = Network(seed, loss=0.1)
    grow(network, 11)
    network.run_until(network.ring_is_right, 60.0)


@pytest.mark.parametrize("seed", range(2))
def test_a_third_of_the_nodes_die_and_the_rest_are_one_ring_again(seed: int) -> None:
    network = Network(seed)
    nodes = grow(network, 18, apart=0.2)
    network.run_until(network.ring_is_right, 15.0)
    for node in network.chance.sample(nodes[1:], 6):
        network.kill(node)
    took = network.run_until(network.ring_is_right, 60.0)
    print(f"one ring after {took:.1f} s")


def test_the_bootstrap_dies_and_the_rest_go_on() -> None:
    network = Network(8)
    nodes = grow(network, 11)
    network.run_until(network.ring_is_right, 15.0)
    network.kill(nodes[0])
    network.run_until(network.ring_is_right, 20.0)


@pytest.mark.parametrize(("seed", "size"), [(1, 1), (2, 2), (3, 5), (4, 8)])
def test_two_rings_that_never_met_merge_through_one_common_node(seed: int, size: int) -> None:
    network = Network(seed)
    one = grow(network, size)
    network.run(10.0)
    other = grow(network, size)
    network.run(10.0)
    assert not network.ring_is_right()
    common = network.add(member=False)
    network.contact(common, one[0])
    network.contact(common, other[0])
    took = network.run_until(network.ring_is_right, 60.0)
    print(f"merged after {took:.1f} s")


def test_links_that_are_no_longer_near_are_let_go() -> None:
    network = Network(3)
    nodes = grow(network, 24, apart=0.5)
    network.run_until(network.ring_is_right, 15.0)
    network.run(20.0)
    for node in nodes:
        wanted = {peer for peer, kind in node.wishes if kind == "near"}
        assert wanted == set(node.machine.ring.near)


def test_an_unreachable_neighbour_is_left_alone_more_and_more() -> None:
    network = Network(4)
    nodes = grow(network, 8)
    network.run_until(network.ring_is_right, 15.0)
    dead = network.add(member=False)
    dead.alive = False
    liar = nodes[0]
    victim = network.nodes[ids.closest(dead.id, [node.id for node in nodes[1:]]) or b""]
    lie = encode(Hello(True, 1, (dead.id,), False))

    def tell() -> None:
        source = Source(liar.id, True, liar.id)
        network.perform(victim, victim.machine.receive(lie, source, network.now))

    for second in range(240):
        network.after(float(second), tell)
    network.run(240.0)
    print(f"{network.attempts[dead.id]} attempts in 240 s")
    assert 3 <= network.attempts[dead.id] <= 10
    assert victim.member


def test_idle_nodes_say_little() -> None:
    network = Network(6)
    nodes = grow(network, 16)
    network.run_until(network.ring_is_right, 15.0)
    network.run(30.0)
    before = network.sent
    network.run(120.0)
    each = (network.sent - before) / 120 / len(nodes)
    print(f"{each:.2f} messages a second and node")
    assert each < 1.0


def test_a_restarted_topology_goes_on_where_it_was() -> None:
    network = Network(7)
    nodes = grow(network, 11)
    network.run_until(network.ring_is_right, 15.0)
    network.run(10.0)
    node = nodes[4]
    routes, wishes = node.routes, set(node.wishes)
    node.machine = network.new_machine(node.id, None)
    kinds = {peer: [kind for to, kind in node.wishes if to == peer] for peer in node.links}
    network.perform(node, node.machine.relink(kinds, network.now))
    assert node.member
    assert node.routes
    network.run(1.0)
    assert node.wishes == wishes
    assert network.ring_is_right()
    assert set(node.routes) == set(routes)


def test_a_restarted_link_module_gets_everything_again() -> None:
    network = Network(9)
    nodes = grow(network, 11)
    network.run_until(network.ring_is_right, 15.0)
    node = nodes[4]
    for peer in list(node.links):
        network.nodes[peer].links.discard(node.id)
        network.perform(network.nodes[peer], network.nodes[peer].machine.link_down(node.id, network.now))
    node.links.clear()
    node.wishes = {wish for wish in node.wishes if wish[1] == "bootstrap"}
    node.table.replace((), member=False)
    network.perform(node, node.machine.relink({}, network.now))
    network.contact(node, nodes[0])
    network.run_until(network.ring_is_right, 15.0)
