from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.overlay_net import thin
from benchmarks.overlay_net.members import NAMESPACE_KEY, Recipe
from benchmarks.overlay_net.thin import Network, Node, Packet, nearest
from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.effects import Send, Source
from ipop_modules.topology.protocol.messages import Get, GetAnswer, decode, encode
from ipop_modules.topology.protocol.records import address_key
from ipop_modules.topology.protocol.ring import Ring
from ipop_modules.topology.protocol.store import Store
from tests.topology.rings import address, overlay, ring


def all_registered(nodes: list[Node]) -> bool:
    assert all(node.machine.registrations for node in nodes)
    return all(claim.state == "registered" for node in nodes for claim in node.machine.registrations._claims.values())


def answer(network: Network, node: Node, wanted: bytes, *, fresh: bool = True) -> tuple[bytes | None, bool, float]:
    already = len(node.resolved)
    network.resolve(node, wanted, fresh=fresh)
    network.run_until(lambda: len(node.resolved) > already, 2.5)
    resolved = node.resolved[-1]
    assert resolved.subject == wanted
    return resolved.node, resolved.certain, resolved.took


@pytest.mark.parametrize("size", [2, 3, 4, 5, 8, 11, 24])
def test_everyone_finds_every_address(size: int) -> None:
    network = Network(size)
    nodes = overlay(network, size)
    took = network.run_until(lambda: all_registered(nodes), 3.0)
    print(f"all registered {took:.2f} s after the ring was right")
    for node in nodes:
        for number, owner in enumerate(nodes, start=1):
            assert answer(network, node, address(number))[:2] == (owner.id, True)


@pytest.mark.parametrize("seed", range(2))
def test_everyone_finds_every_address_though_messages_get_lost(seed: int) -> None:
    network = Network(seed, loss=0.03)
    nodes = overlay(network, 11)
    network.run(20.0)
    wrong = [
        (node, number)
        for node in nodes
        for number, owner in enumerate(nodes, start=1)
        if answer(network, node, address(number))[0] != owner.id
    ]
    assert not wrong


def test_an_address_that_nobody_owns_is_certainly_absent() -> None:
    network = Network(1)
    nodes = overlay(network, 11)
    network.run(10.0)
    found, certain, took = answer(network, nodes[3], address(99))
    assert (found, certain) == (None, True)
    print(f"absent after {took * 1000:.0f} ms")
    assert took < 1.0


def test_a_lookup_before_joining_waits_for_the_join_and_for_the_owners_registration() -> None:
    network = Network(2)
    bare = [network.add(member=False) for _ in range(9)]
    for node in bare[1:]:
        network.contact(node, bare[0])
    network.run(10.0)
    alice, bob = network.add(), network.add()
    for node, number in ((alice, 10), (bob, 20)):
        network.claim(node, address(number))
        network.contact(node, bare[0])
    found, certain, took = answer(network, alice, address(20))
    print(f"found after {took * 1000:.0f} ms")
    assert (found, certain) == (bob.id, True)
    assert took < 1.5


def test_a_lookup_that_nobody_answers_ends_in_time_and_is_not_certain() -> None:
    network = Network(3)
    node = network.add()
    found, certain, took = answer(network, node, address(20))
    assert (found, certain) == (None, False)
    assert 2.3 < took <= 2.5


def test_own_addresses_and_cached_ones_answer_at_once() -> None:
    network = Network(4)
    nodes = overlay(network, 5)
    network.run(6.0)
    network.resolve(nodes[1], address(2))
    assert nodes[1].resolved[-1].source == "own"
    answer(network, nodes[1], address(3))
    network.resolve(nodes[1], address(3))
    assert nodes[1].resolved[-1].source == "cache"
    assert nodes[1].resolved[-1].node == nodes[2].id


def test_of_two_claimants_the_first_keeps_the_address_and_the_second_is_told() -> None:
    network = Network(5)
    nodes = overlay(network, 9)
    network.run(2.0)
    late = network.add()
    network.claim(late, address(3))
    network.contact(late, nodes[0])
    network.run_until(lambda: bool(late.registered), 3.0)
    assert (late.registered[-1].state, late.registered[-1].owner) == ("taken", nodes[2].id)
    for node in nodes:
        assert answer(network, node, address(3))[0] == nodes[2].id


def test_of_two_rings_with_one_address_twice_the_older_claim_wins_everywhere() -> None:
    network = Network(6)
    one = overlay(network, 6)
    network.run(10.0)
    other = [network.add() for _ in range(6)]
    for node in other[1:]:
        network.contact(node, other[0])
    network.claim(other[4], address(4))
    network.run(10.0)
    assert other[4].registered[-1].state == "registered"
    common = network.add()
    network.contact(common, one[0])
    network.contact(common, other[0])
    network.run_until(network.ring_is_right, 60.0)
    network.run_until(lambda: other[4].registered[-1].state == "taken", 20.0)
    assert other[4].registered[-1].owner == one[3].id
    for node in (*one, *other, common):
        assert answer(network, node, address(4))[0] == one[3].id


@pytest.mark.parametrize("seed", range(2))
def test_addresses_are_found_after_nodes_died_and_others_came(seed: int) -> None:
    network = Network(seed)
    nodes = overlay(network, 14)
    network.run(2.0)
    for node in network.chance.sample(nodes[1:], 4):
        network.kill(node)
    network.run_until(network.ring_is_right, 60.0)
    for _ in range(6):
        network.contact(network.add(), nodes[0])
    network.run_until(network.ring_is_right, 15.0)
    network.run(2.0)
    asker = nodes[0]
    for number, owner in enumerate(nodes, start=1):
        if owner.alive:
            assert answer(network, asker, address(number))[0] == owner.id


def test_a_dead_owners_address_ends_with_its_lease() -> None:
    network = Network(7)
    nodes = overlay(network, 8)
    network.run(5.0)
    network.kill(nodes[5])
    network.run(10.0)
    assert answer(network, nodes[2], address(6))[0] == nodes[5].id
    network.run(620.0)
    assert answer(network, nodes[2], address(6))[:2] == (None, True)
    assert answer(network, nodes[2], address(3))[:2] == (nodes[2].id, True)
    assert answer(network, nodes[2], address(5))[:2] == (nodes[4].id, True)


def test_a_record_lies_at_the_member_nearest_to_its_key_and_at_its_neighbours() -> None:
    network = Network(8)
    nodes = overlay(network, 16)
    network.run(10.0)
    key = address_key(NAMESPACE_KEY, address(5))
    root = next(node for node in nodes if node.machine.ring.is_closest(key))
    holders = {node.id for node in nodes if node.machine.storage.store.get("one", key, network.now)}
    assert {root.id, *root.machine.ring.near} <= holders


def test_another_namespace_finds_nothing_and_a_control_does() -> None:
    network = Network(9)
    nodes = overlay(network, 6)
    stranger = network.add(namespace=b"x" * 32)
    network.claim(stranger, address(77))
    network.contact(stranger, nodes[0])
    network.run(20.0)
    assert answer(network, stranger, address(3))[:2] == (None, True)
    assert answer(network, nodes[0], address(3))[:2] == (nodes[2].id, True)
    assert stranger.machine.census and stranger.machine.census.others == 0
    assert nodes[0].machine.census and nodes[0].machine.census.others == 5


def test_the_address_of_an_owner_that_restarted_is_still_its_own() -> None:
    network = Network(10)
    nodes = overlay(network, 7)
    network.run(10.0)
    key = b"owner" * 18
    owner = network.add(key=key)
    network.claim(owner, address(50))
    network.contact(owner, nodes[0])
    network.run(5.0)
    owner.machine = network.new_machine(owner.id, key)
    kinds = {peer: [kind for to, kind in owner.wishes if to == peer] for peer in owner.links}
    network.perform(owner, owner.machine.relink(kinds, network.now))
    network.claim(owner, address(50))
    network.run(2.0)
    assert owner.registered[-1].state == "registered"
    assert answer(network, nodes[3], address(50))[0] == owner.id


def test_a_neighbour_that_swallows_what_it_should_hand_on_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(3, recipe=Recipe(long_links=None))
    nodes = overlay(network, 32)
    network.run(20.0)
    asker = nodes[9]
    swallower: Node | None = None
    swallowed: Counter[bytes] = Counter()
    forward = network._forward

    def greedy(node: Node, packet: Packet) -> None:
        if node is swallower and packet.sender != node.id:
            swallowed[node.id] += 1
        else:
            forward(node, packet)

    monkeypatch.setattr(network, "_forward", greedy)
    found: Counter[bool] = Counter()
    for link in sorted(asker.links):
        swallower = network.nodes[link]
        for number, owner in enumerate(nodes, start=1):
            if owner is not swallower:
                found[answer(network, asker, address(number))[0] == owner.id] += 1
    print(f"swallowed {swallowed.total()} packets; found {found[True]}, not found {found[False]}")
    assert swallowed
    assert found[False] <= found[True] / 50


def test_one_storer_that_has_nothing_does_not_make_an_address_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(4)
    nodes = ring(network, 24)
    owner = nodes[5]
    asker = next(node for node in nodes if node is not owner and not storing(node, address(6)))
    storers = {node.id for node in nodes if storing(node, address(6))}
    empty = nearest(network, address_key(NAMESPACE_KEY, address(6)))
    deliver = network._deliver
    began = network.now

    def slow(node: Node, packet: Packet) -> None:
        """The first answers of all but one, whose store is empty, get lost."""
        is_answer = isinstance(decode(packet.send.payload), GetAnswer) and packet.sender in storers - {empty.id}
        if not is_answer or network.now > began + 0.7:
            deliver(node, packet)

    monkeypatch.setattr(network, "_deliver", slow)
    empty.machine.storage.store = Store()
    assert answer(network, asker, address(6))[:2] == (owner.id, True)


def storing(node: Node, wanted: bytes) -> bool:
    return bool(node.machine.storage.store.get("one", address_key(NAMESPACE_KEY, wanted), 0.0))


def test_a_newcomer_is_in_the_directory_before_its_own_links_are_up_and_says_so_once_it_has_its_place() -> None:
    network = Network(5)
    nodes = ring(network, 24)
    newcomer = network.add()
    network.claim(newcomer, address(50))
    network.contact(newcomer, nodes[0])
    network.run_until(lambda: any(storing(node, address(50)) for node in nodes), 5.0, step=0.005)
    assert not newcomer.member
    assert not newcomer.registered
    network.run_until(lambda: bool(newcomer.registered), 5.0, step=0.005)
    assert newcomer.member
    assert newcomer.registered[0].state == "registered"
    network.run(5.0)
    assert len(newcomer.registered) == 1


def test_where_nodes_lie_close_together_the_storers_are_found_though_the_nearest_one_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1.5 average gaps beside the key there are nodes that hold nothing, which is no sign that there is nothing."""
    network = Network(6)
    nodes = ring(network, 24)
    owner = nodes[5]
    network.claim(owner, address(60))
    network.run(2.0)
    key = address_key(NAMESPACE_KEY, address(60))
    asker = next(node for node in nodes if node is not owner and not storing(node, address(60)))
    silent = nearest(network, key).id
    deliver = network._deliver

    def lossy(node: Node, packet: Packet) -> None:
        if packet.sender != silent or not isinstance(decode(packet.send.payload), GetAnswer):
            deliver(node, packet)

    monkeypatch.setattr(network, "_deliver", lossy)
    monkeypatch.setattr(Ring, "size_estimate", 6)
    for sign in (1, -1):
        beside = ids.from_number(ids.number(key) + sign * ids.RING // 4)
        assert not storing(nearest(network, beside), address(60))
    assert answer(network, asker, address(60))[:2] == (owner.id, True)


def test_a_storer_says_whether_it_would_hold_a_record_and_not_before_it_has_had_its_place_for_a_while() -> None:
    network = Network(7)
    nodes = ring(network, 24)
    key = address_key(NAMESPACE_KEY, address(99))
    ordered = sorted(nodes, key=lambda node: ids.distance(node.id, key))

    def keeps(node: Node) -> bool:
        get = encode(Get(1, nodes[0].id, None, "one", key))
        (sent,) = [effect for effect in node.machine.receive(get, source, network.now) if isinstance(effect, Send)]
        said = decode(sent.payload)
        assert isinstance(said, GetAnswer)
        return said.keeps

    source = Source(nodes[0].id, False, nodes[0].id)
    near = [node for node in ordered[:4] if node is not nodes[0]]
    assert all(keeps(node) for node in near)
    assert not any(keeps(node) for node in ordered[12:] if node is not nodes[0])
    newcomer = near[0]
    dead = network.nodes[newcomer.machine.ring.near[0]]
    network.leave(dead)
    network.run_until(lambda: dead.id not in newcomer.machine.ring.near, 10.0)
    assert not keeps(newcomer)
    network.run(10.0)
    assert keeps(newcomer)


def test_one_dead_node_that_is_nearest_to_all_that_is_asked_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has noticed its death yet, so that everyone still hands it what is nearest to it."""
    network = Network(8)
    nodes = ring(network, 24)
    owner = nodes[5]
    network.claim(owner, address(60))
    network.run(2.0)
    key = address_key(NAMESPACE_KEY, address(60))
    dead = nearest(network, key)
    asker = next(node for node in nodes if node not in (owner, dead) and not storing(node, address(60)))
    wide = min(ids.distance(dead.id, near) for near in dead.machine.ring.near)
    monkeypatch.setattr(Ring, "size_estimate", 4 * ids.RING // wide)
    monkeypatch.setattr(thin, "FAILING_AFTER_RELAYING", 10.0)
    network.kill(dead)
    found, certain, took = answer(network, asker, address(60))
    print(f"found after {took:.2f} s")
    assert (found, certain) == (owner.id, True)
