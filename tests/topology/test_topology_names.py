"""Host names, the list of members, and what a node that leaves gives back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.overlay_net.members import NAMESPACE_KEY
from benchmarks.overlay_net.thin import Network, Node, nearest
from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.effects import Listed, MemberOf
from ipop_modules.topology.protocol.keepers import REPLICAS
from ipop_modules.topology.protocol.names import read_name
from ipop_modules.topology.protocol.profile import Profile, _cipher, opened, sealed
from ipop_modules.topology.protocol.records import Record, address_key
from tests.topology.rings import address, look_up, ring, told

KEY = b"k" * 20


def list_members(network: Network, node: Node) -> Listed:
    before = len(told(node, Listed))
    network.perform(node, node.machine.list_members(network.now))
    network.run_until(lambda: len(told(node, Listed)) > before, 2.5)
    return told(node, Listed)[-1]


def record(value: bytes) -> Record:
    return Record("one", KEY, b"o", 1, 1, 600, value, b"")


def test_a_name_leads_to_its_owner_and_its_addresses() -> None:
    network = Network(1)
    nodes = ring(network, 9)
    network.name(nodes[3], "alice")
    network.run(1.0)
    for node in nodes:
        found = look_up(network, node, "alice")
        assert (found.node, found.addresses) == (nodes[3].id, (address(4),))
    assert look_up(network, nodes[1], "bob").node is None


def test_what_is_known_of_a_name_is_answered_at_once() -> None:
    network = Network(1)
    nodes = ring(network, 5)
    network.name(nodes[3], "alice")
    network.run(1.0)
    look_up(network, nodes[0], "alice")
    network.resolve(nodes[0], "alice")
    cached = nodes[0].resolved[-1]
    assert (cached.source, cached.node, cached.addresses) == ("cache", nodes[3].id, (address(4),))


def test_the_first_to_claim_a_name_keeps_it_and_the_second_is_told() -> None:
    network = Network(2)
    nodes = ring(network, 9)
    network.name(nodes[3], "alice")
    network.run(1.0)
    network.name(nodes[5], "alice")
    network.run(1.0)
    last = nodes[5].registered[-1]
    assert (last.subject, last.state, last.owner) == ("alice", "taken", nodes[3].id)
    assert look_up(network, nodes[0], "alice").node == nodes[3].id


def test_a_new_name_takes_the_old_ones_place_at_once() -> None:
    network = Network(3)
    nodes = ring(network, 9)
    network.name(nodes[3], "alice")
    network.run(1.0)
    network.name(nodes[3], "carol")
    network.run(1.0)
    assert look_up(network, nodes[0], "alice").node is None
    assert look_up(network, nodes[0], "carol").node == nodes[3].id


def test_another_address_is_told_under_the_name() -> None:
    network = Network(3)
    nodes = ring(network, 9)
    network.name(nodes[3], "alice")
    network.claim(nodes[3], address(77), address(78))
    network.run(1.0)
    assert look_up(network, nodes[0], "alice").addresses == (address(77), address(78))
    assert look_up(network, nodes[0], address(4)).node is None


@pytest.mark.parametrize("size", [3, 9, 40])
def test_everyone_is_listed(size: int) -> None:
    network = Network(size)
    nodes = ring(network, size)
    network.name(nodes[1], "alice")
    network.run(1.0)
    for asker in nodes[:3]:
        listed = list_members(network, asker)
        assert listed.certain
        assert [member.node for member in listed.members] == sorted(node.id for node in nodes)
        assert MemberOf(nodes[1].id, "alice", (address(2),)) in listed.members


def test_a_list_that_nobody_answers_ends_in_time_and_is_not_certain() -> None:
    network = Network(5)
    assert list_members(network, network.add()) == Listed((), certain=False)


def test_who_stops_frees_its_address_and_its_name_at_once() -> None:
    network = Network(7)
    nodes = ring(network, 12)
    network.name(nodes[5], "alice")
    network.run(1.0)
    network.leave(nodes[5])
    network.run(1.0)
    assert look_up(network, nodes[2], address(6)).node is None
    assert look_up(network, nodes[2], "alice").node is None
    assert nodes[5].id not in [member.node for member in list_members(network, nodes[2]).members]
    network.claim(nodes[8], address(6))
    network.run(1.0)
    assert look_up(network, nodes[2], address(6)).node == nodes[8].id


def test_a_storer_that_missed_the_withdrawal_is_put_right_by_a_reader() -> None:
    network = Network(8)
    nodes = ring(network, 16)
    key = address_key(NAMESPACE_KEY, address(6))
    asker = nodes[0]
    gap = ids.RING * 3 // (2 * asker.machine.ring.size_estimate)
    points = (ids.number(key) + step * gap for step in (0, 1, -1))
    asked = {nearest(network, ids.from_number(point)).id: None for point in points}
    assert len(asked) > 1
    missed = network.nodes[next(iter(asked))].machine.storage.store
    before = missed.get("one", key, network.now)[0]
    network.claim(nodes[5])
    network.run(1.0)
    missed._remove(missed._entries["one", key][nodes[5].id])
    missed.put(before.record, before.remaining, nodes[5].id, network.now)
    assert look_up(network, asker, address(6)).node is None
    network.run(1.0)
    assert missed.get("one", key, network.now)[0].record.withdrawn


def test_who_comes_back_has_its_address_again() -> None:
    network = Network(9)
    nodes = ring(network, 9)
    network.claim(nodes[4])
    network.run(1.0)
    network.claim(nodes[4], address(5))
    network.run(1.0)
    assert nodes[4].registered[-1].state == "registered"
    assert look_up(network, nodes[0], address(5)).node == nodes[4].id


def test_withdrawals_lie_where_the_records_lay_and_end_with_the_lease() -> None:
    network = Network(10)
    nodes = ring(network, 16)
    key = address_key(NAMESPACE_KEY, address(6))
    network.claim(nodes[5])
    network.run(1.0)

    def holders() -> int:
        return sum(bool(node.machine.storage.store.get("one", key, network.now)) for node in nodes)

    assert holders() >= REPLICAS
    network.run(601.0)
    assert holders() == 0


@given(st.text(max_size=63), st.lists(st.binary(min_size=4, max_size=4), max_size=16).map(tuple))
def test_what_is_sealed_is_opened_by_members_alone(name: str, addresses: tuple[bytes, ...]) -> None:
    profile = Profile(name, addresses)
    value = sealed(profile, KEY, NAMESPACE_KEY, lambda size: b"n" * size)
    assert opened(record(value), NAMESPACE_KEY) == profile
    assert opened(record(value), b"another" * 4) == Profile()
    assert opened(record(value[:-1]), NAMESPACE_KEY) == Profile()


def test_a_member_that_seals_what_is_no_profile_says_nothing() -> None:
    for plain in (b"\x94\xa0\x90\xc4\x00" + b"\x91" * 20_000 + b"\xc0", b"\x92\xa2\xff\xfe\x90", b"\xc1"):
        value = b"n" * 12 + _cipher(NAMESPACE_KEY).encrypt(b"n" * 12, plain, KEY)
        assert opened(record(value), NAMESPACE_KEY) == Profile()


@given(st.binary(max_size=100))
def test_random_values_say_nothing(value: bytes) -> None:
    assert opened(record(value), NAMESPACE_KEY) == Profile()


@given(st.text(max_size=80))
def test_names_are_labels_or_one_error(text: str) -> None:
    try:
        name = read_name(text)
    except ValueError as error:
        assert "is not a host name" in str(error)
    else:
        assert name == name.lower() and 1 <= len(name) <= 63 and name.isascii()
        assert read_name(name) == name
