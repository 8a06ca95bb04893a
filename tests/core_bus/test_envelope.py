import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipop_core.bus.broker import Broker
from ipop_core.bus.envelope import (
    MAX_BODY,
    MAX_FRAME,
    MAX_FRAMES,
    Envelope,
    EnvelopeError,
    decode,
    encode,
    pack,
    unpack,
    unpack_fault,
)

REQUEST = Envelope(kind="request", id=7, to="link", action="connect", deadline=5000, body=pack({"kind": "near"}))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_a_message_comes_out_as_it_went_in() -> None:
    parts = encode(REQUEST, [b"\x00\xff", b""])
    assert decode(parts) == (REQUEST, [b"\x00\xff", b""])
    assert unpack(decode(parts)[0]) == {"kind": "near"}


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=10), JSON, max_size=5))
def test_any_json_object_is_a_body(body: dict[str, object]) -> None:
    envelope = Envelope(kind="event", topic="link.up", body=pack(body))
    assert unpack(decode(encode(envelope))[0]) == body


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=4))
def test_random_bytes_raise_the_one_error(parts: list[bytes]) -> None:
    with pytest.raises(EnvelopeError):
        decode(parts)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_altered_messages_raise_the_one_error_or_decode(data: st.DataObject) -> None:
    head = bytearray(encode(REQUEST)[0])
    for _ in range(data.draw(st.integers(1, 4))):
        head[data.draw(st.integers(0, len(head) - 1))] = data.draw(st.integers(0, 255))
    try:
        envelope, _ = decode([bytes(head)])
        unpack(envelope)
        unpack_fault(envelope)
    except EnvelopeError:
        return


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from([*Envelope.__struct_encode_fields__, "more"]), JSON))
def test_random_json_raises_the_one_error_or_decodes(fields: dict[str, object]) -> None:
    try:
        decode([msgspec.json.encode(fields)])
    except EnvelopeError:
        return


@pytest.mark.parametrize(
    "head",
    [
        b'{"kind":"request","id":1,"to":"link"}',
        b'{"kind":"event"}',
        b'{"kind":"response"}',
        b'{"kind":"gossip"}',
        b'{"kind":"event","topic":"link.up","body":[]}',
        b'{"kind":"event","topic":"link.up","body":' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
        b'{"kind":"event","topic":"link.up","body":{"a":NaN}}',
        b'{"kind":"request","id":-1,"to":"link","action":"x"}',
        b'{"kind":"event","topic":"' + b"x" * 97 + b'"}',
    ],
)
def test_what_is_no_message(head: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode([head])


def test_bodies_that_only_their_reader_finds_bad() -> None:
    for body in (b'{"a":"\xff"}', b'{"a":1e999}'):
        envelope, _ = decode([b'{"kind":"event","topic":"link.up","body":' + body + b"}"])
        with pytest.raises(EnvelopeError):
            unpack(envelope)


def test_caps() -> None:
    big = Envelope(kind="event", topic="link.up", body=pack({"a": "x" * MAX_BODY}))
    with pytest.raises(EnvelopeError, match="body of"):
        encode(big)
    with pytest.raises(EnvelopeError, match="frames"):
        encode(REQUEST, [b""] * (MAX_FRAMES + 1))
    with pytest.raises(EnvelopeError, match="frame of"):
        encode(REQUEST, [bytes(MAX_FRAME + 1)])
    assert decode(encode(REQUEST, [bytes(MAX_FRAME)] * MAX_FRAMES))


def test_the_largest_body_still_fits_once_the_broker_has_written_from() -> None:
    broker = Broker()
    broker.admit(b"l", "x" * 96, "link")
    broker.receive(b"l", encode(Envelope(kind="request", id=1, to="core", action="hello")), 0)
    body = pack({"a": "x" * (MAX_BODY - 8)})
    [delivery] = broker.receive(b"g", encode(Envelope(kind="request", id=1, to="link", action="y", body=body)), 0)
    assert decode(encode(delivery.envelope))


def test_a_body_that_json_cannot_say() -> None:
    with pytest.raises(EnvelopeError):
        pack({"a": object()})


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=3), st.lists(st.binary(max_size=60), max_size=3)), max_size=20)
)
def test_the_broker_counts_garbage_and_answers_nothing(messages: list[tuple[bytes, list[bytes]]]) -> None:
    broker = Broker()
    for client, parts in messages:
        assert broker.receive(client, parts, 0) == []
    assert broker.counters.garbage == len(messages)
