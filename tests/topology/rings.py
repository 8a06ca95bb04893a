"""A small ring of members in virtual time, and the answers to their questions."""

from __future__ import annotations

from typing import TypeVar

from benchmarks.overlay_net.thin import Network, Node
from ipop_modules.topology.protocol.effects import Effect, Resolved

E = TypeVar("E", bound=Effect)


def address(number: int) -> bytes:
    return bytes([192, 168, 10, number])


def overlay(network: Network, size: int) -> list[Node]:
    """Members that start together and claim the addresses 1, 2, ...; the first is the bootstrap."""
    nodes = [network.add() for _ in range(size)]
    for number, node in enumerate(nodes, start=1):
        network.claim(node, address(number))
        if number > 1:
            network.contact(node, nodes[0])
    network.run_until(network.ring_is_right, 15.0)
    return nodes


def ring(network: Network, size: int) -> list[Node]:
    """The same, once it has settled."""
    nodes = overlay(network, size)
    network.run(6.0)
    return nodes


def told(node: Node, kind: type[E]) -> list[E]:
    return [event for event in node.events if isinstance(event, kind)]


def look_up(network: Network, node: Node, subject: bytes | str) -> Resolved:
    """The directory's answer, past the cache."""
    before = len(node.resolved)
    network.resolve(node, subject, fresh=True)
    network.run_until(lambda: len(node.resolved) > before, 2.5)
    assert node.resolved[-1].subject == subject
    return node.resolved[-1]
