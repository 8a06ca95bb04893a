"""Who begins very many handshakes takes the room of nobody else: neighbours, addresses, IPv6 networks."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol import half_open, wire
from ipop_modules.tincan.link.protocol.establish import HALF_OPEN_LIFETIME
from ipop_modules.tincan.link.protocol.events import Endpoint
from ipop_modules.tincan.link.protocol.half_open import (
    MAX_OF_ADDRESS,
    MAX_OF_LINK,
    MAX_OVERLAY,
    MAX_PROVEN,
    MAX_UNPROVEN,
    UNPROVEN,
    HalfOpen,
    Part,
    Place,
)
from ipop_modules.tincan.link.protocol.handshake import Initiator
from ipop_modules.tincan.link.protocol.source import Overlay, Source

from .net import Net, Peer
from .test_machine import ring


def initiator(net: Net, peer: Peer) -> Initiator:
    ephemeral = X25519PrivateKey.from_private_bytes(net.random_bytes(32))
    return Initiator(peer.credentials, int.from_bytes(net.random_bytes(8)), ephemeral)


def receive(target: Peer, datagram: bytes, source: Source) -> None:
    target.machine.receive(memoryview(datagram), len(datagram), source, target.net.now)


def greet(target: Peer, peer: Peer, source: Endpoint) -> bool:
    """Begin a handshake from an address, with a token if one is wanted; whether it is answered."""
    net, hand = target.net, initiator(target.net, peer)
    before = len(net.sent)
    receive(target, hand.first(wire.INIT_SIZE), source)
    answers = [wire.parse(memoryview(data)) for _, _, to, data in net.sent[before:] if to == source]
    if answers and isinstance(answers[0], wire.Retry):
        before = len(net.sent)
        receive(target, hand.first(wire.INIT_SIZE, answers[0].token), source)
        answers = [wire.parse(memoryview(data)) for _, _, to, data in net.sent[before:] if to == source]
    return bool(answers) and isinstance(answers[0], wire.Response)


def test_a_neighbour_that_hands_over_very_many_handshakes_blocks_nobody_else() -> None:
    net = Net(400)
    a, b, *_, z = ring(net, 5)
    stranger = net.peer("10.0.1.1")
    for _ in range(1000):
        receive(a, initiator(net, stranger).first(), Overlay(net.random_bytes(20), None, b.id, 2))
    assert a.machine.counters["drop_half_open"] == 1000 - MAX_OF_LINK
    assert greet(a, stranger, ("10.0.9.9", 4741))
    dropped = a.machine.counters["drop_half_open"]
    receive(a, initiator(net, stranger).first(), Overlay(net.random_bytes(20), None, z.id, 2))
    assert a.machine.counters["drop_half_open"] == dropped
    net.run(HALF_OPEN_LIFETIME)
    receive(a, initiator(net, stranger).first(), Overlay(net.random_bytes(20), None, b.id, 2))
    assert a.machine.counters["drop_half_open"] == dropped, "it may again"


@pytest.mark.parametrize(
    ("many", "other"),
    [
        (lambda number: ("10.9.9.9", 1000 + number), ("10.9.9.10", 1000)),
        (lambda number: (f"2001:db8::{number:x}", 4741), ("2001:db8:0:1::", 4741)),
    ],
    ids=["an address", "an IPv6 network"],
)
def test_an_address_that_begins_very_many_blocks_no_other(many: object, other: Endpoint) -> None:
    net = Net(401)
    a, rogue = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    for number in range(MAX_UNPROVEN):
        assert greet(a, rogue, (f"10.5.0.{number}", 4741))
    answered = sum(greet(a, rogue, many(number)) for number in range(MAX_OF_ADDRESS * 3))  # type: ignore[operator]
    assert answered == MAX_OF_ADDRESS
    assert a.machine.counters["drop_half_open"] == MAX_OF_ADDRESS * 2
    assert a.machine.counters["retry_sent"] == MAX_OF_ADDRESS * 3
    assert greet(a, rogue, other)


PLACES = st.one_of(
    st.just(UNPROVEN),
    st.builds(half_open.proven, st.binary(min_size=4, max_size=4).map(lambda raw: raw[:1] + bytes(3))),
    st.builds(half_open.overlay, st.integers(0, 12).map(lambda number: bytes([number]) * 20)),
)


@given(st.lists(st.tuples(PLACES, st.integers(1, 100))))
def test_no_part_and_no_place_takes_more_than_is_its_own(wishes: list[tuple[Place, int]]) -> None:
    room, inside = HalfOpen(), []
    for place, count in wishes:
        for _ in range(count):
            if room.has_room(place):
                room.add(place)
                inside.append(place)
    for part, most in zip(Part, (MAX_UNPROVEN, MAX_PROVEN, MAX_OVERLAY), strict=True):
        assert sum(place[0] is part for place in inside) <= most
    assert all(inside.count(place) <= place[0].share for place in set(inside))
    for place in inside:
        room.remove(place)
    assert not room._places
    assert not any(room._parts.values())
