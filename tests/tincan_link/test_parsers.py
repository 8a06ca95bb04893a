"""Random and altered bytes from a peer raise the documented error and nothing else; what was written is read again."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.frames import CONTROL, FRAME_HEADER, FRAME_HEADER_SIZE, RELAY
from ipop_modules.tincan.link.protocol import control, overlay
from ipop_modules.tincan.link.protocol.overlay import BadPacket, Packet

ids = st.binary(min_size=20, max_size=20)
bytes_in_255 = st.integers(0, 255)
packets = st.builds(
    Packet,
    to=ids,
    sender=ids,
    content=st.sampled_from([overlay.DATAGRAM, overlay.MESSAGE]),
    payload=st.binary(max_size=200),
    closest=st.booleans(),
    to_via=st.none() | ids,
    from_via=st.none() | ids,
    mark=st.none() | ids,
    strict=st.booleans(),
    hop_limit=bytes_in_255,
    hops=bytes_in_255,
)
tokens = st.binary(min_size=8, max_size=8)
roles = st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True)
messages = st.one_of(
    st.builds(control.Confirm),
    st.builds(control.Member, st.binary(min_size=32, max_size=32)),
    st.builds(control.Probe, tokens),
    st.builds(control.ProbeAnswer, tokens, st.binary(max_size=16), st.integers(0, 65535)),
    st.builds(control.Ping, tokens),
    st.builds(control.Pong, tokens, bytes_in_255),
    st.builds(control.RoleMessage, roles, st.binary(max_size=100)),
    st.builds(control.Close),
)
alterations = st.lists(st.tuples(st.integers(0, 1000), bytes_in_255), min_size=1, max_size=4)


def altered(data: bytes, changes: list[tuple[int, int]], cut: int) -> memoryview:
    changed = bytearray(data)
    for at, value in changes:
        if changed:
            changed[at % len(changed)] = value
    return memoryview(changed)[: len(changed) - cut % (len(changed) + 1)]


def body(packet: Packet) -> bytes:
    frame = overlay.frame(packet)
    assert FRAME_HEADER.unpack_from(frame) == (RELAY, 0, 0, len(frame) - FRAME_HEADER_SIZE)
    return frame[FRAME_HEADER_SIZE:]


def check(packet: Packet, data: bytes | memoryview) -> None:
    assert body(packet) == data
    assert {len(node) for node in (packet.to, packet.sender, packet.to_via, packet.from_via) if node is not None} == {
        20
    }


@given(packets)
def test_a_packet_is_read_as_it_was_written(packet: Packet) -> None:
    assert overlay.decode(memoryview(body(packet))) == packet


@given(st.binary(max_size=150))
def test_random_bytes_are_a_packet_or_refused(data: bytes) -> None:
    with suppress(BadPacket):
        check(overlay.decode(memoryview(data)), data)


@given(packets, alterations, st.integers(0, 300))
def test_altered_packets_are_packets_or_refused(packet: Packet, changes: list[tuple[int, int]], cut: int) -> None:
    data = altered(body(packet), changes, cut)
    with suppress(BadPacket):
        check(overlay.decode(data), data)


@given(roles, st.binary(max_size=100))
def test_a_message_is_read_as_it_was_written(role: str, data: bytes) -> None:
    assert overlay.decode_message(overlay.encode_message(role, data)) == (role, data)


@given(st.binary(max_size=100) | st.builds(lambda size, rest: bytes([size]) + rest, st.integers(0, 9), st.binary()))
def test_random_bytes_are_a_message_or_refused(data: bytes) -> None:
    with suppress(BadPacket):
        assert overlay.encode_message(*overlay.decode_message(memoryview(data))) == data


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x00x", b"\x05abc", b"\x03a b", b"\x01\xe9"])
def test_a_message_without_a_role_is_refused(payload: bytes) -> None:
    with pytest.raises(BadPacket):
        overlay.decode_message(payload)


@given(messages)
def test_a_control_message_is_read_as_it_was_written(message: control.AnyControl) -> None:
    frame = control.frame(message)
    assert FRAME_HEADER.unpack_from(frame) == (CONTROL, 0, 0, len(frame) - FRAME_HEADER_SIZE)
    assert control.decode(memoryview(frame)[FRAME_HEADER_SIZE:]) == message


@given(st.binary(max_size=100))
def test_random_bytes_are_a_control_message_or_refused(data: bytes) -> None:
    with suppress(control.BadControl):
        assert isinstance(control.decode(memoryview(data)), control.Control)


@given(messages, alterations, st.integers(0, 300))
def test_altered_control_messages_are_refused_or_messages(
    message: control.AnyControl, changes: list[tuple[int, int]], cut: int
) -> None:
    with suppress(control.BadControl):
        data = altered(control.frame(message)[FRAME_HEADER_SIZE:], changes, cut)
        assert isinstance(control.decode(data), control.Control)
