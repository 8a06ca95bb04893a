from __future__ import annotations

import select
from ipaddress import ip_address, ip_interface

import pytest

from ipop_modules.tincan import frames
from ipop_modules.tincan.card.errors import CardError
from ipop_modules.tincan.card.protocol import arp, ndp
from ipop_modules.tincan.card.protocol.endpoint import Answered, Unanswered
from ipop_modules.tincan.card.protocol.neighbours import Neighbours, Reply, Resolve
from ipop_modules.tincan.card.user import MAXIMUM_QUEUE, PingResult, UserCard

from .packets import ALICE, ALICE4, ALICE_MAC, BOB, BOB4, BOB_MAC

BOB_ADDRESS = ip_address("192.168.10.20")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make(mac: bytes, number: int, clock: Clock) -> UserCard:
    return UserCard("tapipop", mac, 1500, [ip_interface(f"192.168.10.{number}/24")], clock)


def is_readable(card: UserCard) -> bool:
    return bool(select.select([card], [], [], 0)[0])


def read(card: UserCard) -> memoryview:
    buffer = memoryview(bytearray(frames.FRAME_HEADER_SIZE + frames.MAX_FRAME))
    filled = card.read(buffer)
    kind, offload, size, length = frames.FRAME_HEADER.unpack_from(buffer)
    assert (kind, offload, size, length) == (frames.CARD, 0, 0, filled - frames.FRAME_HEADER_SIZE)
    return buffer[frames.FRAME_HEADER_SIZE : filled]


def test_two_cards_ping_through_the_neighbour_table() -> None:
    clock = Clock()
    alice, bob = make(ALICE_MAC, 10, clock), make(BOB_MAC, 20, clock)
    table = Neighbours(ALICE, [ip_interface("192.168.10.10/24")])
    results: list[PingResult] = []
    assert not is_readable(alice)
    alice.ping(BOB_ADDRESS, b"hello", 1, 2, results.append)
    assert is_readable(alice)
    assert table.receive(read(alice), 0.0) == [Resolve(BOB4)]
    assert not is_readable(alice)
    (answer,) = table.resolved(BOB4, BOB, 0.1)
    assert isinstance(answer, Reply)
    clock.now = 0.2
    assert alice.write(0, 0, memoryview(answer.frame))
    assert bob.write(0, 0, read(alice))
    assert bob.write(0, 0, memoryview(arp.reply(ALICE_MAC, ALICE4, BOB_MAC, BOB4)))
    assert read(bob) == arp.request(BOB_MAC, BOB4, ALICE4)
    clock.now = 0.3
    assert alice.write(0, 0, read(bob))
    assert results == [Answered(BOB4, 1, 2, b"hello", 0.3)]
    alice.close()
    bob.close()
    bob.close()


def test_a_ping_that_nobody_answers_ends() -> None:
    clock = Clock()
    card = make(ALICE_MAC, 10, clock)
    results: list[PingResult] = []
    card.ping(BOB_ADDRESS, b"", 1, 2, results.append)
    while (now := card.next_wake()) is not None:
        card.wake(now)
    assert results == [Unanswered(BOB4, 1, 2, is_unreachable=True)]
    card.close()


def test_what_cannot_be_sent_is_one_error() -> None:
    card = make(ALICE_MAC, 10, Clock())
    with pytest.raises(CardError, match="cannot ping fd00::1"):
        card.ping(ip_address("fd00::1"), b"", 1, 2, lambda _: pytest.fail("called"))
    card.close()


def test_offloads_are_refused_and_the_queue_is_bounded() -> None:
    card = make(ALICE_MAC, 10, Clock())
    frame = memoryview(ndp.solicitation(BOB_MAC, ndp.link_local_of(BOB_MAC), ndp.link_local_of(ALICE_MAC)))
    assert not card.write(0x13, 100, frame)
    assert card.counters["write_refused"] == 1
    for sequence in range(MAXIMUM_QUEUE + 1):
        card.ping(ip_address(f"192.168.10.{20 + sequence % 200}"), b"", sequence, 0, lambda _: None)
        card.wake(card.next_wake() or 0.0)
    assert card.counters["read_full"] > 0
    buffer = memoryview(bytearray(2000))
    for _ in range(MAXIMUM_QUEUE):
        assert card.read(buffer) > 0
    assert card.read(buffer) == 0
    assert not is_readable(card)
    card.close()
