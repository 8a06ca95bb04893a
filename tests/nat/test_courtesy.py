"""Nobody is made to flood somebody else, whatever candidates a peer names and however often."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipop_core.lab.nat import NatKind
from ipop_core.simulated_nat import SimulatedNat
from ipop_modules.tincan.link.protocol.courtesy import MAX_KNOWN, TO_A_HOST, TO_ALL, TO_AN_ADDRESS, WINDOW, Courtesy
from ipop_modules.tincan.link.protocol.path import MAX_PATHS
from ipop_modules.tincan.link.protocol.searching import Part
from tests.nat.streets import PORT, Pair

VICTIM = bytes([192, 0, 2, 66])


def test_an_address_and_a_host_get_only_so_many() -> None:
    courtesy = Courtesy()
    assert sum(courtesy.allows((VICTIM, 9), 0.0) for _ in range(100)) == TO_AN_ADDRESS
    assert sum(courtesy.allows((VICTIM, port), 1.0) for port in range(1000)) == TO_A_HOST - TO_AN_ADDRESS
    assert courtesy.allows((VICTIM, 9), WINDOW + 1)


def test_an_address_that_answers_is_no_stranger() -> None:
    courtesy = Courtesy()
    for _ in range(TO_AN_ADDRESS):
        courtesy.allows((VICTIM, 9), 0.0)
    courtesy.answered((VICTIM, 9))
    assert courtesy.allows((VICTIM, 9), 0.0)


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.integers(1, 65_535)), max_size=200))
def test_all_together_get_only_so_many(addresses: list[tuple[bytes, int]]) -> None:
    courtesy = Courtesy()
    assert sum(courtesy.allows(address, 0.0) for address in addresses * 20) <= TO_ALL


def test_what_is_remembered_is_bounded() -> None:
    courtesy = Courtesy()
    for number in range(3 * MAX_KNOWN):
        courtesy.allows((number.to_bytes(4), 9), float(number))
    assert len(courtesy._counts) <= MAX_KNOWN


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
    assert 0 < len(sent) <= TO_A_HOST * 2
    assert max(map(len, sent)) < 100
    assert len(list(machine.sessions[pair.b.id].paths)) <= MAX_PATHS
    assert machine.counters["probe_held_back"] > 0
    assert pair.direct, "the path in use is none the worse for it"


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
