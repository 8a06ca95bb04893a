"""A storer that says that it stores what it is given, and hides it: whoever it lies next to is found nevertheless."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.overlay_net.members import LEASE, NAMESPACE_KEY, Kind, Recipe
from benchmarks.overlay_net.scenarios import Liar
from benchmarks.overlay_net.thin import Network, Node, nearest
from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.effects import Listed, Registered
from ipop_modules.topology.protocol.messages import GetAnswer, PutAnswer, Replicate, decode, encode
from ipop_modules.topology.protocol.records import address_key, members_key
from ipop_modules.topology.protocol.ring import Ring
from tests.topology.rings import address, look_up, ring, told


def let_lie(network: Network, key: bytes) -> Node:
    """The one who is to answer for a key."""
    liar = nearest(network, key)
    liar.lies = Liar(network, NAMESPACE_KEY, "swallows")
    return liar


def join(network: Network, bootstrap: Node, *numbers: int) -> list[Node]:
    nodes = [network.add() for _ in numbers]
    for node, number in zip(nodes, numbers, strict=True):
        network.claim(node, address(number))
        network.contact(node, bootstrap)
    network.run(20.0)
    return nodes


@pytest.mark.parametrize("kind", ["open", "secret", "authority"])
def test_an_address_is_found_though_its_storer_hides_it(kind: Kind) -> None:
    network = Network(1, recipe=Recipe(kind=kind))
    nodes = ring(network, 16)
    numbers = (101, 102, 103)
    liars = [let_lie(network, address_key(NAMESPACE_KEY, address(number))) for number in numbers]
    newcomers = join(network, nodes[0], *numbers)
    askers = [node for node in nodes if node not in liars]
    for wait in (0.0, 0.7 * LEASE, 0.7 * LEASE):
        network.run(wait)
        for node, number in zip(newcomers, numbers, strict=True):
            assert told(node, Registered)[-1].state == "registered"
            for asker in askers[::5]:
                assert look_up(network, asker, address(number)).node == node.id


def test_an_address_is_found_though_its_storer_is_nearest_to_the_points_beside_it_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where members lie far apart, or seem to be more than they are."""
    network = Network(4, recipe=Recipe(kind="authority"))
    nodes = ring(network, 24)
    monkeypatch.setattr(Ring, "size_estimate", 100)
    found = 0
    for number in range(101, 131):
        key = address_key(NAMESPACE_KEY, address(number))
        beside = [ids.from_number(ids.number(key) + sign * nodes[0].machine.ring.beside) for sign in (1, -1)]
        if len({nearest(network, point).id for point in (key, *beside)}) > 1:
            continue
        liar = let_lie(network, key)
        (newcomer,) = join(network, nodes[0], number)
        network.run(10.0)
        asker = next(node for node in nodes if node is not liar)
        assert look_up(network, asker, address(number)).node == newcomer.id, number
        liar.lies = None
        found += 1
        if found > 3:
            return
    pytest.fail(f"only {found} of the addresses have one storer nearest to all three points")


def test_members_are_listed_though_the_storer_of_their_set_hides_them() -> None:
    network = Network(2)
    nodes = ring(network, 24)
    liar = let_lie(network, members_key(NAMESPACE_KEY))
    (newcomer,) = join(network, nodes[0], 101)
    asker = next(node for node in nodes if node is not liar)
    assert newcomer.id in listed(network, asker)


def test_a_member_is_listed_though_the_storer_of_their_set_says_that_it_is_full() -> None:
    network = Network(3)
    nodes = ring(network, 24)
    key = members_key(NAMESPACE_KEY)
    liar = nearest(network, key)
    liar.lies = lambda payload: turned_away(payload, key)
    (newcomer,) = join(network, nodes[0], 101)
    for wait in (0.0, 0.7 * LEASE, 0.7 * LEASE):
        network.run(wait)
        for asker in nodes[::7]:
            assert newcomer.id in listed(network, asker)
    network.leave(newcomer)
    network.run(3.0)
    assert newcomer.id not in listed(network, nodes[0])


def turned_away(payload: bytes, key: bytes) -> bytes:
    """What a storer says that keeps newcomers out of a set."""
    match decode(payload):
        case PutAnswer(outcome="stored") as answer:
            return encode(PutAnswer(answer.number, "full", None))
        case Replicate() as replicate:
            return encode(Replicate(tuple(copy for copy in replicate.copies if copy.record.key != key)))
        case GetAnswer() as answer:
            return encode(msgspec.structs.replace(answer, copies=()))
        case _:
            return payload


def listed(network: Network, asker: Node) -> set[bytes]:
    before = len(told(asker, Listed))
    network.perform(asker, asker.machine.list_members(network.now))
    network.run_until(lambda: len(told(asker, Listed)) > before, 5.0)
    return {member.node for member in told(asker, Listed)[-1].members}
