"""Nobody is made to flood somebody else, whatever candidates a peer names and however often."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_core.lab.nat import NatKind
from ipop_core.simulated_nat import SimulatedNat
from ipop_modules.tincan.link.protocol.courtesy import (
    MAX_HOSTS,
    MEMBERS,
    STRANGERS,
    TO_AN_ADDRESS,
    WINDOW,
    Courtesy,
)
from ipop_modules.tincan.link.protocol.mapping import Address
from ipop_modules.tincan.link.protocol.path import MAX_PATHS
from ipop_modules.tincan.link.protocol.searching import Part
from tests.nat.streets import PORT, Pair

VICTIM = bytes([192, 0, 2, 66])
PEER, OTHER = b"p" * 20, b"q" * 20
Addresses = list[tuple[bytes, int]]


def taken(courtesy: Courtesy, addresses: Iterable[Address], now: float, peer: bytes = PEER, *, member: bool) -> int:
    return sum(courtesy.allows(address, peer, now, member=member) for address in addresses)


def test_an_address_and_a_host_get_only_so_many() -> None:
    courtesy = Courtesy()
    assert taken(courtesy, [(VICTIM, 9)] * 100, 0.0, member=True) == TO_AN_ADDRESS
    ports = [(VICTIM, port) for port in range(1000)]
    assert taken(courtesy, ports, 1.0, member=True) == MEMBERS.to_a_host / 3 - TO_AN_ADDRESS
    assert courtesy.allows((VICTIM, 9), PEER, WINDOW + 1, member=True)


def test_an_address_that_answers_is_no_stranger() -> None:
    courtesy = Courtesy()
    for _ in range(3):
        assert taken(courtesy, [(VICTIM, 9)] * 100, 0.0, member=True) == TO_AN_ADDRESS
        courtesy.answered((VICTIM, 9), PEER)
    silent = [(VICTIM, port) for port in range(10, 1000)]
    assert taken(courtesy, silent, 0.0, member=True) == MEMBERS.to_a_host / 3, "and nothing else of that host's is"


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.integers(1, 65_535)), max_size=200))
def test_all_together_get_only_so_many(addresses: Addresses) -> None:
    courtesy = Courtesy()
    for member, allowance in ((True, MEMBERS), (False, STRANGERS)):
        peers = [number.to_bytes(20) for number in range(20)]
        assert sum(taken(courtesy, addresses, 0.0, peer, member=member) for peer in peers) <= allowance.to_all


def everywhere(count: int) -> Addresses:
    return [(number.to_bytes(4), 9) for number in range(1, count + 1)]


def test_no_stranger_uses_up_what_a_member_or_another_stranger_needs() -> None:
    courtesy = Courtesy()
    spent = [taken(courtesy, everywhere(5000), 0.0, bytes([n]) * 20, member=False) for n in range(10)]
    assert spent[0] == STRANGERS.to_all // 9 + 1
    assert sum(spent) < STRANGERS.to_all * 0.7
    assert taken(courtesy, everywhere(TO_AN_ADDRESS), 0.0, member=False) == TO_AN_ADDRESS
    assert taken(courtesy, everywhere(5000), 0.0, member=True) == MEMBERS.to_all // 9 + 1


def test_no_peer_uses_up_what_another_needs_at_a_host() -> None:
    courtesy, ports = Courtesy(), [(VICTIM, port) for port in range(1000)]
    taken(courtesy, ports, 0.0, OTHER, member=False)
    assert taken(courtesy, [(VICTIM, 9)] * 7, 0.0, member=False) == 7, "one round of tries"
    for n in range(3):
        taken(courtesy, ports, 0.0, bytes([n]) * 20, member=True)
    assert taken(courtesy, [(VICTIM, 9)] * 7, 0.0, member=True) == 7


def test_a_host_that_never_answers_gets_ever_less() -> None:
    courtesy = Courtesy()
    peers = [bytes([n]) * 20 for n in range(10)]
    everything = [(VICTIM, port) for port in range(100)]
    sent = [
        sum(taken(courtesy, everything, float(second), peer, member=False) for peer in peers)
        for second in range(0, 3600, 10)
    ]
    assert 0 < sum(sent[:3]) <= STRANGERS.to_a_host
    assert sum(sent) <= STRANGERS.to_a_host * 12, "30 s, 60, 120, 240, and then 480 each"


def test_a_pair_that_looks_for_a_path_again_and_again_has_a_round_of_tries_each_time() -> None:
    """As seeking.py does, with two addresses behind one router."""
    courtesy, now, wait = Courtesy(), 0.0, 16.0
    for _ in range(20):
        assert taken(courtesy, [(VICTIM, 9), (VICTIM, 10)] * 7, now, member=True) == 14
        now, wait = now + wait, min(2 * wait, 256.0)


def test_what_is_remembered_is_bounded() -> None:
    courtesy = Courtesy()
    for number in range(3 * MAX_HOSTS):
        courtesy.allows((number.to_bytes(4), 9), PEER, float(number), member=True)
    assert len(courtesy._members.hosts) <= MAX_HOSTS


def direct_pair() -> Pair:
    pair = Pair(NatKind.OPEN, NatKind.OPEN, seed=1)
    pair.talk(2, until_direct=True)
    assert pair.direct
    return pair


def test_a_thousand_candidates_for_ever_cost_a_third_party_a_few_packets() -> None:
    pair = direct_pair()
    machine, net = pair.a.machine, pair.net
    named = [("192.0.2.66", port) for port in range(1, 1001)]
    began = len(net.sent)
    for _ in range(60):
        machine.probe(pair.b.id, named, net.now)
        net.run(0.5)
    sent = [data for _, source, target, data in net.sent[began:] if target[0] == "192.0.2.66"]
    assert 0 < len(sent) <= MEMBERS.to_a_host
    assert max(map(len, sent)) < 100
    assert len(list(machine.sessions[pair.b.id].paths)) <= MAX_PATHS
    assert machine.counters["probe_held_back"] > 0
    assert pair.direct, "the path in use is none the worse for it"


def test_two_strangers_that_name_address_after_address_make_no_flood_and_keep_nobody_else_from_a_probe() -> None:
    pair = direct_pair()
    machine, net = pair.a.machine, pair.net
    began, number = len(net.sent), 0
    for _ in range(58):
        for relay in pair.relays[:2]:
            named = [(f"192.0.{number % 200}.{last}", 9) for last in range(1, 17)]
            machine.probe(relay.id, named, net.now)
            number += 1
        net.run(0.5)
    sent = [target for _, _, target, _ in net.sent[began:] if target[0].startswith("192.0.")]
    assert 0 < len(sent) <= 2 * STRANGERS.to_all / 9 * 2, "in 29 s, which are two windows at the most"
    honest = ("198.51.100.9", 9), ("198.51.100.8", 9)
    machine.probe(pair.b.id, honest[:1], net.now)
    machine.probe(pair.relays[2].id, honest[1:], net.now)
    began = len(net.sent)
    net.run(6)
    tried = [target for _, _, target, _ in net.sent[began:] if target in honest]
    assert [tried.count(target) for target in honest] == [6, 6], "and the first of each went at once"


def test_candidates_for_a_node_without_a_session_are_dropped_and_counted() -> None:
    pair = direct_pair()
    began = len(pair.net.sent)
    pair.a.machine.probe(bytes(20), [("192.0.2.66", 9)], pair.net.now)
    pair.net.run(1)
    assert pair.a.machine.counters["probe_no_session"] == 1
    assert not [target for _, _, target, _ in pair.net.sent[began:] if target[0] == "192.0.2.66"]


def test_no_stranger_is_searched_for() -> None:
    """A peer that has not proved its membership gets no search, whatever it says of its NAT."""
    pair = direct_pair()
    a, net = pair.a, pair.net

    session = a.machine.sessions[pair.relays[0].id]
    assert not session.member
    session.paths.drop_all()
    a.machine.probe(session.node, [], net.now, search=(Part.GUESS, ("192.0.2.66", 9)))
    net.run(10)
    assert a.machine.counters["search_sent"] == 0


def test_a_search_spends_its_budget_once_and_then_rests() -> None:
    pair = Pair(NatKind.SYMMETRIC, NatKind.SYMMETRIC, seed=1)
    pair.talk(1)

    machine, net = pair.a.machine, pair.net
    for _ in range(40):
        machine.probe(pair.b.id, [], net.now, search=(Part.GUESS, ("192.0.2.66", 9)))
        pair.talk(0.5)
    assert machine.counters["search_sent"] == 2000 - 256
    assert machine.counters["search_resting"] > 0


@pytest.mark.slow
def test_whoever_was_searched_for_in_vain_is_left_alone_by_whatever_member_it_is_named() -> None:
    pair = Pair(NatKind.SYMMETRIC, NatKind.SYMMETRIC, seed=1)
    pair.talk(1)
    machine, net = pair.a.machine, pair.net
    mallory = net.member(NatKind.SYMMETRIC, 30)
    for relay in pair.relays:
        mallory.machine.contact(relay.endpoint, relay.id, net.now)
    net.run(1)
    mallory.machine.set_routes({node: node for node in mallory.machine.sessions}, member=False)
    machine.want_member(mallory.id, net.now)
    net.run(3)
    assert machine.sessions[mallory.id].member
    for port, node in enumerate([pair.b.id] * 40 + [mallory.id] * 40, 1):
        machine.probe(node, [], net.now, search=(Part.GUESS, ("192.0.2.66", port)))
        pair.talk(0.5)
    assert machine.counters["search_sent"] == 2000 - 256
    machine.probe(mallory.id, [], net.now, search=(Part.GUESS, ("192.0.2.67", 9)))
    pair.talk(2)
    assert machine.counters["search_sent"] > 2000 - 256, "another host may still be searched for"


def test_a_peer_that_is_found_elsewhere_than_it_said_buys_its_victim_no_second_search() -> None:
    pair = Pair(NatKind.SYMMETRIC, NatKind.SYMMETRIC, seed=1)
    pair.talk(1)
    machine, net = pair.a.machine, pair.net
    machine.probe(pair.b.id, [], net.now, search=(Part.GUESS, ("192.0.2.66", 9)))
    pair.talk(3)
    sent = machine.counters["search_sent"]
    assert 0 < sent < 2000 - 256
    for member, number in ((pair.a, 10), (pair.b, 20)):
        net.nats.put(member.endpoint[0], SimulatedNat(NatKind.FULL_CONE, f"203.0.113.{number}", net.random))
    for _ in range(2):  # the first makes the mappings
        machine.probe(pair.b.id, [("203.0.113.20", PORT)], net.now)
        pair.b.machine.probe(pair.a.id, [("203.0.113.10", PORT)], net.now)
        pair.talk(1)
    assert pair.direct
    sent = machine.counters["search_sent"]
    machine.sessions[pair.b.id].paths.drop_all()
    for member, number in ((pair.a, 10), (pair.b, 20)):
        net.nats.put(member.endpoint[0], SimulatedNat(NatKind.SYMMETRIC, f"203.0.113.{number}", net.random))
    machine.probe(pair.b.id, [], net.now, search=(Part.GUESS, ("192.0.2.66", 9)))
    pair.talk(3)
    assert machine.counters["search_sent"] == sent
    assert machine.counters["search_resting"] > 0
