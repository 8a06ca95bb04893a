from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.signal.protocol.candidates import pack
from ipop_modules.signal.protocol.offers import Answer, Offer, decode, encode
from ipop_modules.signal.protocol.rendezvous import (
    MOST_ATTEMPTS,
    MOST_PEERS,
    NODE_BURST,
    PEER_BURST,
    TRIES,
    Effect,
    Nat,
    Probe,
    Rendezvous,
    Send,
    Tally,
)

ALICE, BOB = "aa" * 20, "bb" * 20
AN_EASY_NAT = Nat("endpoint-independent", "192.0.2.1:1")
A_HARD_NAT = Nat("address-and-port-dependent", "198.51.100.1:2")
AT_ALICE, AT_BOB = ["192.0.2.1:1", "[2001:db8::1]:1"], ["198.51.100.1:2"]


def numbers() -> Callable[[int], bytes]:
    counter = count(1)
    return lambda size: next(counter).to_bytes(size, "big")


def rendezvous() -> Rendezvous:
    return Rendezvous(numbers(), now=0.0)


def packed(*endpoints: str) -> tuple[bytes, ...]:
    return tuple(candidate for endpoint in endpoints if (candidate := pack(endpoint)))


def data_to(node: str, effects: list[Effect]) -> bytes:
    (send,) = [effect for effect in effects if isinstance(effect, Send)]
    assert send.node == node
    return send.data


def probes(effects: list[Effect]) -> list[Probe]:
    return [effect for effect in effects if isinstance(effect, Probe)]


def offer(*endpoints: str, number: int = 9) -> bytes:
    return encode(Offer(number.to_bytes(8, "big"), packed(*endpoints)))


def test_both_sides_probe_after_one_offer_and_one_answer() -> None:
    alice, bob = rendezvous(), rendezvous()
    offered = alice.want(BOB, AT_ALICE, now=0.0, nat=AN_EASY_NAT)
    answered = bob.receive(ALICE, data_to(BOB, offered), AT_BOB, now=0.05, nat=A_HARD_NAT)
    assert probes(answered) == [Probe(ALICE, tuple(AT_ALICE), AN_EASY_NAT, early=True)]
    done = alice.receive(BOB, data_to(ALICE, answered), AT_ALICE, now=0.1)
    assert done == [Probe(BOB, tuple(AT_BOB), A_HARD_NAT, early=False)]
    alice.link_up(BOB)
    assert alice.next_wake() is None
    assert alice.counters["attempts_succeeded"] == 1


def test_crossed_offers_make_both_probe() -> None:
    alice, bob = rendezvous(), rendezvous()
    from_alice, from_bob = alice.want(BOB, AT_ALICE, 0.0), bob.want(ALICE, AT_BOB, 0.0)
    assert probes(bob.receive(ALICE, data_to(BOB, from_alice), AT_BOB, 0.1))
    assert probes(alice.receive(BOB, data_to(ALICE, from_bob), AT_ALICE, 0.1))


def test_offers_are_sent_again_ever_later_and_given_up() -> None:
    machine = rendezvous()
    times = [0.0] if machine.want(BOB, AT_ALICE, 0.0) else []
    while (wake := machine.next_wake()) is not None:
        if machine.wake(wake):
            times.append(wake)
    assert times == [0.0, 0.5, 1.5, 3.5, 7.5]
    assert len(times) == TRIES
    assert machine.counters["attempts_failed"] == 1
    assert machine.want(BOB, AT_ALICE, 100.0)


def test_a_wish_that_is_repeated_sends_new_candidates_only() -> None:
    machine = rendezvous()
    machine.want(BOB, AT_ALICE, 0.0)
    machine.wake(0.5)
    machine.wake(1.5)
    assert machine.want(BOB, AT_ALICE, 1.6) == []
    assert machine.next_wake() == 3.5
    assert machine.want(BOB, ["203.0.113.9:9"], 1.7) == []
    assert machine.next_wake() == 2.2
    sent = decode(data_to(BOB, machine.wake(2.2)))
    assert sent.candidates == packed("203.0.113.9:9")


def test_a_node_that_can_search_no_more_says_so_soon_and_after_the_last_try_too() -> None:
    machine = rendezvous()
    machine.want(BOB, AT_ALICE, 0.0, Nat(able=True))
    for at in (0.5, 1.5, 3.5):
        machine.wake(at)
    assert machine.want(BOB, AT_ALICE, 3.6, Nat(able=False)) == []
    assert not decode(data_to(BOB, machine.wake(4.1))).able
    assert machine.want(BOB, AT_ALICE, 4.2, Nat(able=True)) == []
    assert decode(data_to(BOB, machine.wake(4.7))).able


def test_only_the_asked_peer_may_answer_and_once_for_each_offer() -> None:
    machine = rendezvous()
    asked = decode(data_to(BOB, machine.want(BOB, AT_ALICE, 0.0)))
    answer = encode(Answer(asked.id, packed(*AT_BOB)))
    assert machine.receive("cc" * 20, answer, AT_ALICE, 0.1) == []
    assert machine.receive(BOB, encode(Answer(bytes(8), packed(*AT_BOB))), AT_ALICE, 0.1) == []
    assert machine.receive(BOB, answer, AT_ALICE, 0.1) != []
    assert machine.receive(BOB, answer, AT_ALICE, 0.1) == []
    assert machine.counters["answers_unexpected"] == 3
    machine.wake(0.5)
    assert machine.receive(BOB, answer, AT_ALICE, 0.6) != []


def test_what_went_to_and_fro_with_a_peer_is_told() -> None:
    machine = rendezvous()
    asked = decode(data_to(BOB, machine.want(BOB, AT_ALICE, 0.0)))
    machine.wake(0.5)
    machine.receive(BOB, encode(Answer(asked.id, packed(*AT_BOB))), AT_ALICE, 0.6)
    for _ in range(50):
        machine.receive(BOB, offer("192.0.2.9:9"), AT_ALICE, 0.7)
    assert machine.tally(BOB) == Tally(sent=2, answered=1, received=50, limited=50 - int(PEER_BURST))
    assert machine.tally(ALICE) == Tally()


def test_offers_of_one_peer_are_limited_and_those_of_another_are_not() -> None:
    machine = rendezvous()
    served = [bool(machine.receive(BOB, offer("192.0.2.9:9"), AT_ALICE, 0.0)) for _ in range(50)]
    assert sum(served) == PEER_BURST
    assert machine.counters["rate_limited"] == 50 - PEER_BURST
    assert machine.receive(ALICE, offer("192.0.2.9:9"), AT_ALICE, 0.0)
    assert machine.receive(BOB, offer("192.0.2.9:9"), AT_ALICE, 1.0)


def test_offers_of_all_peers_together_are_limited() -> None:
    machine = rendezvous()
    served = [machine.receive(f"{peer:040x}", offer("192.0.2.9:9"), AT_ALICE, 0.0) for peer in range(1000)]
    assert sum(map(bool, served)) == NODE_BURST


def test_tables_are_bounded() -> None:
    machine = rendezvous()
    for peer in range(2000):
        machine.want(f"{peer:040x}", AT_ALICE, 0.0)
        machine.receive(f"{peer:040x}", offer("192.0.2.9:9"), AT_ALICE, 0.0)
    assert len(machine._attempts) == MOST_ATTEMPTS
    assert len(machine._peers) == len(machine._tallies) == MOST_PEERS
    assert machine.counters["attempts_dropped"] == 2000 - MOST_ATTEMPTS


def test_a_peer_can_not_make_this_machine_probe_itself_or_a_group() -> None:
    machine = rendezvous()
    effects = machine.receive(BOB, offer("127.0.0.1:1", "224.0.0.1:1", "192.0.2.9:9"), AT_ALICE, 0.0)
    assert probes(effects) == [Probe(BOB, ("192.0.2.9:9",), early=True)]
    assert machine.counters["candidates_unfit"] == 2
    nothing_left = machine.receive(BOB, offer("127.0.0.1:1"), AT_ALICE, 0.0)
    assert probes(nothing_left) == []
    assert decode(data_to(BOB, nothing_left)).candidates == packed(*AT_ALICE)


def test_loopback_is_probed_where_there_is_nothing_else() -> None:
    machine = rendezvous()
    effects = machine.receive(BOB, offer("127.0.0.1:1"), ["127.0.0.1:2"], 0.0)
    assert probes(effects) == [Probe(BOB, ("127.0.0.1:1",), early=True)]
    assert decode(data_to(BOB, effects)).candidates == packed("127.0.0.1:2")


def test_own_loopback_is_not_offered_beside_other_candidates() -> None:
    machine = rendezvous()
    effects = machine.want(BOB, ["127.0.0.1:1", "nonsense", *AT_ALICE], 0.0)
    assert decode(data_to(BOB, effects)).candidates == packed(*AT_ALICE)


def test_without_own_candidates_nothing_is_offered() -> None:
    machine = rendezvous()
    assert machine.want(BOB, [], 0.0) == []
    assert machine.next_wake() is None
    assert machine.counters["no_own_candidates"] == 1


@given(st.binary(max_size=100))
def test_nonsense_is_dropped_and_counted(data: bytes) -> None:
    machine = rendezvous()
    machine.receive(BOB, data, AT_ALICE, 0.0)
    assert (
        machine.counters["invalid"] + machine.counters["offers_received"] + machine.counters["answers_unexpected"] == 1
    )


@pytest.mark.parametrize("outer", [b"", b"12345", b"\xe0\x00\x00\x01\x00\x07", b"\x7f\x00\x00\x01\x00\x07", bytes(18)])
def test_a_nat_at_an_address_that_is_not_fit_has_none(outer: bytes) -> None:
    data = encode(Offer(bytes(8), packed("192.0.2.9:9"), 4, outer))
    (probe,) = probes(rendezvous().receive(BOB, data, AT_ALICE, now=0.0))
    assert probe.nat == Nat("address-and-port-dependent", None)
