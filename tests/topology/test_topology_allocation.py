"""Addresses that the directory chooses."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.overlay_net.thin import Network, Node
from ipop_modules.topology.protocol.allocation import MAX_TRIES, Allocation
from ipop_modules.topology.protocol.effects import Allocated
from tests.topology.rings import address, look_up, ring, told

NETWORK = ip_network("192.168.10.0/24")


def ask(network: Network, node: Node, wanted: bytes | None = None, within: str = str(NETWORK)) -> None:
    network.perform(node, node.machine.allocate(ip_network(within), wanted, network.now))


def given_to(node: Node) -> bytes | None:
    return told(node, Allocated)[-1].address


@given(
    st.binary(min_size=20, max_size=20),
    st.sampled_from(["10.0.0.0/24", "10.0.0.0/30", "10.0.0.4/31", "10.0.0.9/32"]),
    st.none() | st.integers(0, 255),
)
def test_every_host_address_is_tried_once(node: bytes, text: str, wanted: int | None) -> None:
    network = ip_network(text)
    allocation = Allocation(network, node, None if wanted is None else bytes([10, 0, 0, wanted]))
    tried = []
    while allocation.address is not None:
        tried.append(str(ip_address(allocation.address)))
        allocation.next()
    assert sorted(tried) == sorted(map(str, network.hosts()))


def test_in_a_large_network_it_ends_too_and_tries_no_edge() -> None:
    network = ip_network("fd00::/64")
    allocation = Allocation(network, b"n" * 20, None)
    tried = set()
    while allocation.address is not None:
        tried.add(ip_address(allocation.address))
        allocation.next()
    assert len(tried) == MAX_TRIES
    assert network.network_address not in tried
    assert all(one in network for one in tried)


def test_the_wanted_address_comes_first_if_it_is_in_the_network() -> None:
    assert Allocation(NETWORK, b"n" * 20, address(9)).address == address(9)
    assert Allocation(NETWORK, b"n" * 20, bytes([10, 0, 0, 9])).address != bytes([10, 0, 0, 9])
    assert Allocation(NETWORK, b"n" * 20, bytes(16)).address in {host.packed for host in NETWORK.hosts()}


@pytest.mark.parametrize("seed", [0, 1, 2, 37])
def test_many_that_come_at_once_get_one_each(seed: int) -> None:
    network = Network(seed)
    nodes = ring(network, 9)
    newcomers = [network.add() for _ in range(5)]
    for node in newcomers:
        ask(network, node, address(77))
        network.contact(node, nodes[0])
    network.run_until(lambda: all(told(node, Allocated) for node in newcomers), 15.0)
    got = [given_to(node) for node in newcomers]
    assert len({*got}) == len(got)
    assert address(77) in got
    for node, one in zip(newcomers, got, strict=True):
        assert one is not None
        assert look_up(network, nodes[2], one).node == node.id


def test_a_taken_address_is_passed_over_in_silence() -> None:
    network = Network(4)
    nodes = ring(network, 6)
    ask(network, nodes[0], address(3))
    network.run_until(lambda: bool(told(nodes[0], Allocated)), 5.0)
    assert given_to(nodes[0]) not in {address(number) for number in range(1, 7)}
    assert {event.state for event in nodes[0].registered} == {"registered"}


def test_an_address_that_several_tried_and_left_goes_to_one_node_alone() -> None:
    network = Network(11)
    nodes = ring(network, 8)
    network.claim(nodes[0], address(99))
    network.run(2.0)
    for node in nodes[1:4]:
        ask(network, node, address(99))
        network.run_until(lambda n=node: bool(told(n, Allocated)), 10.0)  # type: ignore[misc]  # mypy can't infer a lambda's default
        assert given_to(node) != address(99)
    network.perform(nodes[0], nodes[0].machine.withdraw(network.now))
    network.run(2.0)
    for node in nodes[4:8]:
        ask(network, node, address(99))
        network.run_until(lambda n=node: bool(told(n, Allocated)), 10.0)  # type: ignore[misc]  # as above
    assert given_to(nodes[4]) == address(99)
    assert address(99) not in {given_to(node) for node in nodes[5:8]}
    assert look_up(network, nodes[1], address(99)).node == nodes[4].id


def test_a_full_network_is_told() -> None:
    network = Network(5)
    nodes = ring(network, 6)
    network.claim(nodes[1], bytes([10, 0, 0, 1]))
    network.claim(nodes[2], bytes([10, 0, 0, 2]))
    network.run(1.0)
    ask(network, nodes[0], None, "10.0.0.0/30")
    network.run_until(lambda: bool(told(nodes[0], Allocated)), 10.0)
    assert given_to(nodes[0]) is None


def test_asked_again_it_is_the_same_address() -> None:
    network = Network(6)
    nodes = ring(network, 4)
    ask(network, nodes[0])
    network.run_until(lambda: bool(told(nodes[0], Allocated)), 5.0)
    ask(network, nodes[0])
    assert len(told(nodes[0], Allocated)) == 2
    assert told(nodes[0], Allocated)[0] == told(nodes[0], Allocated)[1]


def test_two_rings_that_gave_one_address_twice_agree_when_they_meet_and_the_later_node_gets_another() -> None:
    network = Network(7)
    one, other = ring(network, 5), [network.add() for _ in range(5)]
    ask(network, one[2], address(99))
    network.run_until(lambda: bool(told(one[2], Allocated)), 0.5)
    for node in other[1:]:
        network.contact(node, other[0])
    network.run(10.0)
    ask(network, other[3], address(99))
    network.run_until(lambda: bool(told(other[3], Allocated)), 0.5)
    assert given_to(one[2]) == given_to(other[3]) == address(99)
    network.contact(network.add(), one[0])
    common = network.add()
    network.contact(common, one[0])
    network.contact(common, other[0])
    network.run_until(lambda: given_to(other[3]) != address(99), 90.0)
    assert given_to(one[2]) == address(99)
    got = given_to(other[3])
    assert got is not None
    assert look_up(network, one[0], got).node == other[3].id
    assert look_up(network, other[3], address(99)).node == one[2].id
