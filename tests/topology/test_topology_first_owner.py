"""Two members with one address: who came first keeps it, whatever the other's clock says and whoever joins."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.overlay_net.thin import Network, Node
from ipop_modules.topology.protocol.effects import Registered
from tests.topology.rings import address, look_up, told

DAY = 86_400.0


def let_join(network: Network, bootstrap: Node, number: int, key: bytes | None = None) -> Node:
    node = network.add(key=key)
    network.claim(node, address(number))
    network.contact(node, bootstrap)
    return node


def grown(seed: int) -> tuple[Network, list[Node], bytes]:
    """A ring of 24, and the key of the sixth, that has the address 6."""
    network = Network(seed)
    keys = [network.chance.randbytes(91) for _ in range(24)]
    nodes = [network.add(key=keys[0])]
    network.claim(nodes[0], address(1))
    nodes += [let_join(network, nodes[0], number, key) for number, key in enumerate(keys[1:], start=2)]
    network.run_until(network.ring_is_right, 20.0)
    network.run(10.0)
    return network, nodes, keys[5]


def wait_behind(network: Network, node: Node, days: float) -> None:
    """Let a node whose clock is so many days behind claim the address of another."""
    registrations = node.machine.registrations
    assert registrations is not None
    registrations._owner = dataclasses.replace(registrations._owner, epoch=registrations._owner.epoch - days * DAY)
    network.claim(node, address(16), address(6))
    network.run(20.0)
    assert told(node, Registered)[-1].state == "taken"


def keeps_it_while_others_join(network: Network, nodes: list[Node], owner: Node) -> None:
    for number in range(101, 113):
        let_join(network, nodes[0], number)
        network.run(20.0)
        assert look_up(network, nodes[20], address(6)).node == owner.id, f"after newcomer {number}"
    assert {event.state for event in told(owner, Registered) if event.subject == address(6)} == {"registered"}


@pytest.mark.parametrize("seed", [3, 5])
def test_one_that_waits_takes_no_address_because_its_clock_is_behind(seed: int) -> None:
    network, nodes, _ = grown(seed)
    wait_behind(network, nodes[15], days=3)
    keeps_it_while_others_join(network, nodes, nodes[5])


@pytest.mark.parametrize("seed", [3, 5])
def test_an_owner_that_was_away_for_less_than_its_lease_comes_back_to_its_address(seed: int) -> None:
    network, nodes, key = grown(seed)
    wait_behind(network, nodes[15], days=0)
    network.kill(nodes[5])
    network.run(30.0)
    back = let_join(network, nodes[0], 6, key)
    network.run(15.0)
    keeps_it_while_others_join(network, nodes, back)
