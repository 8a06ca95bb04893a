from __future__ import annotations

import random

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.topology.protocol import messages
from ipop_modules.topology.protocol.effects import Source
from ipop_modules.topology.protocol.machine import Machine, Member
from ipop_modules.topology.protocol.messages import Message, MessageError, decode, encode
from ipop_modules.topology.protocol.records import (
    Record,
    address_key,
    is_genuine,
    is_sealed,
    members_key,
    signed_record,
    verify_p256,
)
from ipop_modules.topology.protocol.registration import Owner

node_ids = st.binary(min_size=20, max_size=20)
numbers = st.integers(0, 2**63 - 1)
times = st.integers(0, 2**53)
near = st.lists(node_ids, max_size=8).map(tuple)
records = st.builds(
    Record,
    kind=st.sampled_from(["one", "many"]),
    key=node_ids,
    owner_key=st.binary(min_size=1, max_size=128),
    since=times,
    sequence=times,
    lease=st.integers(1, 3600),
    value=st.binary(max_size=1024),
    signature=st.binary(max_size=80),
    seal=st.binary(max_size=32),
    withdrawn=st.booleans(),
)
copies = st.lists(st.builds(messages.Copy, record=records, remaining=st.integers(0, 2**31)), max_size=4).map(tuple)
vias = st.none() | node_ids
any_message = st.one_of(
    st.builds(messages.Hello, member=st.booleans(), life=numbers, near=near, ask=st.booleans(), long=st.booleans()),
    st.builds(messages.Join, number=numbers, asker=node_ids, via=node_ids, hops=st.integers(0, 64), near=near),
    st.builds(messages.JoinAnswer, number=numbers, near=near),
    st.builds(messages.Put, number=numbers, asker=node_ids, via=vias, record=records),
    st.builds(
        messages.PutAnswer,
        number=numbers,
        outcome=st.sampled_from(["stored", "taken", "stale", "refused"]),
        record=st.none() | records,
    ),
    st.builds(
        messages.Get,
        number=numbers,
        asker=node_ids,
        via=vias,
        kind=st.sampled_from(["one", "many"]),
        key=node_ids,
        after=st.binary(max_size=20),
    ),
    st.builds(messages.GetAnswer, number=numbers, copies=copies, total=st.integers(0, 2**31), keeps=st.booleans()),
    st.builds(messages.Replicate, copies=copies),
    st.builds(messages.Displaced, key=node_ids),
    st.builds(messages.Neighbours, nodes=st.lists(node_ids, max_size=64).map(tuple)),
    st.builds(messages.Find, number=numbers, asker=node_ids, via=vias),
    st.builds(messages.Found, number=numbers, node=node_ids, room=st.booleans()),
    st.builds(messages.Full),
    st.builds(messages.Repair, copy=st.builds(messages.Copy, record=records, remaining=st.integers(0, 2**31))),
    st.builds(messages.Survey, number=numbers, asker=node_ids, via=vias),
    st.builds(messages.SurveyAnswer, number=numbers, node=node_ids, near=near, long=near, other=near),
    st.builds(messages.OtherRing, door=node_ids),
    st.builds(
        messages.Introduction,
        peers=st.lists(st.builds(messages.Peer, node=node_ids, endpoint=st.text(max_size=64)), max_size=4).map(tuple),
    ),
)


@given(any_message)
def test_what_is_encoded_decodes_to_the_same(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=300))
def test_random_data_is_a_message_or_one_error(data: bytes) -> None:
    try:
        decode(data)
    except MessageError as error:
        assert str(error)


@given(any_message, st.data())
def test_altered_messages_decode_or_raise_one_error(message: Message, data: st.DataObject) -> None:
    raw = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(raw))
    except MessageError as error:
        assert str(error)


@pytest.mark.parametrize(
    "body",
    [
        [1, True, 5, [b"short"], False],
        [1, True, 5, [b"x" * 20] * 9, False],
        [1, True, -1, [], False],
        [1, 1, 5, [], False],
        [2, 5, b"x" * 21, b"x" * 20, 0],
        [2, 5, b"x" * 20, b"x" * 20, 65],
        [99],
        [],
        {"member": True},
    ],
)
def test_a_field_out_of_its_bounds_is_refused_and_a_control_is_not(body: object) -> None:
    assert decode(msgspec.msgpack.encode([1, True, 5, [b"x" * 20] * 8, False]))
    with pytest.raises(MessageError):
        decode(msgspec.msgpack.encode(body))


def test_deep_nesting_and_great_length_are_refused() -> None:
    with pytest.raises(MessageError):
        decode(b"\x95\x01" + b"\x91" * 20_000)
    with pytest.raises(MessageError):
        decode(b"\x96\x01\xc3\x05\x90\xc2" + b"\x91" * 20_000)
    with pytest.raises(MessageError, match="at most"):
        decode(bytes(messages.MAX_MESSAGE + 1))


def machine(me: bytes, chance: random.Random, neighbours: list[bytes]) -> Machine:
    owner = Owner(key=b"key", sign=lambda data: b"signature", epoch=0.0, lease=600)
    member = Member(namespace_key=b"k" * 32, owner=owner)
    made = Machine(me, member, chance.randbytes, 0.0, long_links=None, verify=lambda key, signature, data: True)
    for node in neighbours:
        made.link_up(node, 0.0)
        made.receive(encode(messages.Hello(True, 1, (), False)), Source(node, True, node), 0.0)
    made.set_addresses([bytes(4)], 0.0)
    made.wake(5.0)
    return made


@given(st.lists(st.tuples(any_message, st.booleans(), st.integers(0, 3)), max_size=12), st.integers())
def test_no_sequence_of_messages_breaks_the_machine(said: list[tuple[Message, bool, int]], seed: int) -> None:
    chance = random.Random(seed)
    peers = [bytes([n]) * 20 for n in range(1, 4)]
    node = machine(bytes(20), chance, peers)
    now = 5.0
    for message, proven, peer in said:
        sender = peers[peer] if peer < 3 else chance.randbytes(20)
        now += chance.random()
        node.receive(encode(message), Source(sender, proven, sender), now)
        node.resolve(b"\x0a\x00\x00\x01", now, fresh=True)
        node.wake(now)
        due = node.next_wake()
        assert due is None or due > now - 1.0


def test_messages_that_need_a_proven_sender_are_dropped_without_one() -> None:
    chance = random.Random(1)
    peer, other = b"\x01" * 20, b"\x02" * 20
    node = machine(bytes(20), chance, [peer])
    hello = encode(messages.Hello(True, 1, (other,), True))
    assert node.receive(hello, Source(peer, False, peer), 6.0) == []
    assert node.dropped == 1
    assert node.receive(hello, Source(peer, True, peer), 6.0)


def test_a_record_is_genuine_until_any_part_of_it_is_altered() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    record = signed_record(
        "one",
        address_key(b"k" * 32, bytes([10, 0, 0, 1])),
        owner_key=der,
        since=1,
        sequence=2,
        lease=600,
        value=b"v",
        sign=lambda data: key.sign(data, ec.ECDSA(SHA256())),
        namespace_key=b"k" * 32,
    )
    assert is_sealed(record, b"k" * 32)
    assert not is_sealed(record, b"x" * 32)
    assert not is_sealed(msgspec.structs.replace(record, since=0), b"k" * 32)
    assert is_genuine(record, verify_p256)
    altered = [
        {"kind": "many"},
        {"key": members_key(b"k" * 32)},
        {"since": 0},
        {"sequence": 3},
        {"lease": 601},
        {"value": b""},
        {"signature": b""},
        {"owner_key": b"no key"},
    ]
    for change in altered:
        assert not is_genuine(msgspec.structs.replace(record, **change), verify_p256)


def test_keys_differ_by_namespace_address_and_purpose() -> None:
    one = {address_key(ns, a) for ns in (b"a" * 32, b"b" * 32) for a in (bytes(4), bytes(16), b"\x0a\0\0\1")}
    assert len(one | {members_key(b"a" * 32), members_key(b"b" * 32)}) == 8
