from __future__ import annotations

from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.card.protocol import arp, icmp, ndp
from ipop_modules.tincan.card.protocol.endpoint import Answered, Effects, Emit, Endpoint, Unanswered

from .packets import ALICE4, ALICE6, ALICE_MAC, BOB4, BOB6, BOB_MAC


def endpoint(mac: bytes, number: int) -> Endpoint:
    return Endpoint(mac, [ip_interface(f"192.168.10.{number}/24"), ip_interface(f"fd00::{number}/64")], 1500)


def alice() -> Endpoint:
    return endpoint(ALICE_MAC, 10)


def frames(effects: Effects) -> list[bytes]:
    return [effect.frame for effect in effects if isinstance(effect, Emit)]


def request(sequence: int = 1) -> bytes:
    return icmp.build(BOB_MAC, ALICE_MAC, icmp.Echo(True, ALICE4, BOB4, 9, sequence, b"hello"))


def test_a_ping_waits_for_its_neighbour_and_comes_back() -> None:
    card, bob = alice(), endpoint(BOB_MAC, 20)
    assert card.ping(BOB4, b"hello", 9, 1, 0.0) == [Emit(arp.request(ALICE_MAC, ALICE4, BOB4))]
    assert card.ping(BOB4, b"hello", 9, 2, 0.5) == []
    sent = card.receive(arp.reply(BOB_MAC, BOB4, ALICE_MAC, ALICE4), 1.5)
    assert sent == [Emit(request(1)), Emit(request(2))]
    assert frames(bob.receive(request(1), 1.6)) == [arp.request(BOB_MAC, BOB4, ALICE4)], "as a kernel does"
    (reply,) = frames(bob.receive(arp.reply(ALICE_MAC, ALICE4, BOB_MAC, BOB4), 1.7))
    assert card.receive(reply, 2.0) == [Answered(BOB4, 9, 1, b"hello", 2.0)]
    assert card.receive(reply, 2.1) == [], "a second reply is nobody's"
    assert card.ping(BOB4, b"hello", 9, 3, 3.0) == [Emit(request(3))]


def test_the_same_for_ipv6() -> None:
    card, bob = alice(), endpoint(BOB_MAC, 20)
    assert card.ping(BOB6, b"hello", 9, 1, 0.0) == [Emit(ndp.solicitation(ALICE_MAC, ALICE6, BOB6))]
    (ping,) = frames(card.receive(ndp.advertisement(BOB_MAC, BOB6, ALICE_MAC, ALICE6), 0.1))
    bob.receive(ping, 0.2)
    (reply,) = frames(bob.receive(ndp.advertisement(ALICE_MAC, ALICE6, BOB_MAC, BOB6), 0.2))
    assert card.receive(reply, 0.3) == [Answered(BOB6, 9, 1, b"hello", 0.3)]


def test_an_address_without_an_owner_is_asked_for_three_times() -> None:
    card = alice()
    asked = len(card.ping(BOB4, b"", 9, 1, 0.0))
    while True:
        now = card.next_wake()
        assert now is not None
        effects = card.wake(now)
        if not frames(effects):
            break
        asked += 1
    assert (now, asked) == (3.0, 3)
    assert effects == [Unanswered(BOB4, 9, 1, is_unreachable=True)]
    assert card.next_wake() is None


def test_a_lost_reply_ends_the_ping() -> None:
    card = alice()
    card.ping(BOB4, b"hello", 9, 1, 0.0)
    card.receive(arp.reply(BOB_MAC, BOB4, ALICE_MAC, ALICE4), 0.1)
    assert card.next_wake() == 10.0
    assert card.wake(10.0) == [Unanswered(BOB4, 9, 1, is_unreachable=False)]


def test_neighbours_are_asked_for_again_in_time() -> None:
    card = alice()
    card.ping(BOB4, b"hello", 9, 1, 0.0)
    card.receive(arp.reply(BOB_MAC, BOB4, ALICE_MAC, ALICE4), 0.0)
    assert card.ping(BOB4, b"hello", 9, 2, 29.0) == [Emit(request(2))]
    assert card.ping(BOB4, b"hello", 9, 3, 30.0) == [Emit(arp.request(ALICE_MAC, ALICE4, BOB4))]


def test_only_its_own_frames_and_questions_count() -> None:
    card = alice()
    assert card.receive(request(), 0.0) == [], "another hardware address"
    other = icmp.build(ALICE_MAC, BOB_MAC, icmp.Echo(True, BOB4, ip_address("192.168.10.11").packed, 9, 1, b""))
    assert card.receive(other, 0.0) == [], "another address"
    assert card.receive(arp.reply(BOB_MAC, BOB4, ALICE_MAC, ALICE4), 0.0) == []
    assert frames(card.ping(BOB4, b"", 9, 1, 0.0)) == [arp.request(ALICE_MAC, ALICE4, BOB4)], "unasked, unheeded"


def test_held_packets_are_bounded() -> None:
    card = alice()
    for sequence in range(101):
        card.ping(BOB4, b"", 9, sequence, 0.0)
    assert card.ping(BOB4, b"", 9, 101, 0.0) == [Unanswered(BOB4, 9, 0, is_unreachable=True)]


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="subnets"):
        alice().ping(ip_address("10.0.0.1").packed, b"", 9, 1, 0.0)
    with pytest.raises(ValueError, match="1500"):
        alice().ping(BOB4, bytes(1473), 9, 1, 0.0)
    alice().ping(BOB4, bytes(1472), 9, 1, 0.0)


@given(st.binary(max_size=100))
def test_random_frames_do_nothing(data: bytes) -> None:
    assert alice().receive(data, 0.0) == []
    assert alice().receive(ALICE_MAC + BOB_MAC + b"\x08\x00" + data, 0.0) == []
