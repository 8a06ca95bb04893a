from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan import frames
from ipop_modules.tincan.card.protocol import virtio

from .packets import TCP, UDP, ethernet, has_right_checksums, ip4, ip6, tcp, udp, with_partial_checksum

TCP4 = ethernet(ip4(tcp(b"x" * 4000), TCP))
TCP4_OPTIONS = ethernet(ip4(tcp(b"x" * 4000, options=b"\1" * 12), TCP, options=b"\1" * 8))
TCP6 = ethernet(ip6(tcp(b"x" * 4000), TCP))
UDP4 = ethernet(ip4(udp(b"x" * 4000), UDP))
UDP6 = ethernet(ip6(udp(b"x" * 4000), UDP))

CASES = [
    pytest.param(frames.SEGMENT_TCP4, TCP4, (1, 1, 54, 1000, 34, 16), id="tcp4"),
    pytest.param(frames.SEGMENT_TCP4, TCP4_OPTIONS, (1, 1, 74, 1000, 42, 16), id="tcp4 with options"),
    pytest.param(frames.SEGMENT_TCP6, TCP6, (1, 4, 74, 1000, 54, 16), id="tcp6"),
    pytest.param(frames.SEGMENT_UDP, UDP4, (1, 5, 42, 1000, 34, 6), id="udp4"),
    pytest.param(frames.SEGMENT_UDP, UDP6, (1, 5, 62, 1000, 54, 6), id="udp6"),
]


@pytest.mark.parametrize(("segment", "frame", "header"), CASES)
def test_a_super_frame_s_header_travels_and_is_rebuilt(segment: int, frame: bytes, header: tuple[int, ...]) -> None:
    raw = virtio.HEADER.pack(*header)
    view = memoryview(bytearray(frame))
    travelling = virtio.outgoing(raw[0], raw[1], memoryview(raw)[2:], view)
    assert travelling == (segment | frames.CHECKSUM_NEEDED, 1000)
    assert virtio.rebuild(*travelling, view) == raw


@pytest.mark.parametrize(("segment", "frame", "header"), CASES)
def test_a_partial_checksum_travels_and_is_rebuilt(segment: int, frame: bytes, header: tuple[int, ...]) -> None:
    raw = virtio.HEADER.pack(1, 0, 0, 0, *header[4:])
    view = memoryview(bytearray(frame))
    assert virtio.outgoing(1, 0, memoryview(raw)[2:], view) == (frames.CHECKSUM_NEEDED, 0)
    assert virtio.rebuild(frames.CHECKSUM_NEEDED, 0, view) == raw


@given(st.data())
def test_the_short_way_says_what_the_long_one_says(data: st.DataObject) -> None:
    protocol = data.draw(st.sampled_from([TCP, UDP, 1]))
    body = tcp(b"x" * 20) if protocol == TCP else udp(b"x" * 40)
    fragment = data.draw(st.sampled_from([0, 0x4000, 0x2000, 1, 0x1FFF]))
    options = data.draw(st.sampled_from([b"", b"\1" * 4]))
    packet = data.draw(st.sampled_from([ip4(body, protocol, fragment=fragment, options=options), ip6(body, protocol)]))
    start, offset = data.draw(st.sampled_from([34, 38, 54])), data.draw(st.sampled_from([6, 16]))
    frame = bytearray(ethernet(packet))
    tail = memoryview(virtio.HEADER.pack(1, 0, 0, 0, start, offset)[2:] + frame)
    ordinary = virtio.is_ordinary(tail)
    assert ordinary == (
        packet[0] == 0x45 and fragment & 0x3FFF == 0 and (protocol, start, offset) in ((TCP, 34, 16), (UDP, 34, 6))
    )
    if ordinary:
        assert virtio.outgoing(1, 0, tail, memoryview(frame)) == (frames.CHECKSUM_NEEDED, 0)


def test_a_valid_checksum_needs_nothing() -> None:
    assert virtio.outgoing(2, 0, memoryview(bytes(8)), memoryview(TCP4)) == (0, 0)
    assert virtio.rebuild(0, 0, memoryview(TCP4)) == bytes(10)


def test_ecn_is_told_from_the_inner_packet() -> None:
    frame = ethernet(ip4(tcp(b"x" * 4000, flags=0x90), TCP))
    raw = virtio.HEADER.pack(1, 0x81, 54, 1000, 34, 16)
    assert virtio.outgoing(1, 0x81, memoryview(raw)[2:], memoryview(frame)) == (0x11, 1000)
    assert virtio.rebuild(0x11, 1000, memoryview(frame)) == raw


def test_a_tunnel_s_inner_checksum_is_filled_in_at_the_sender() -> None:
    """A VXLAN over the card leaves a partial checksum deep inside, where the receiver would not look."""
    inner = with_partial_checksum(ethernet(ip4(udp(b"hello"), UDP)))
    outer = bytearray(ethernet(ip4(udp(bytes(8) + inner), UDP)))
    start = 14 + 20 + 8 + 8 + 34
    raw = virtio.HEADER.pack(1, 0, start + 8, 0, start, 6)
    assert virtio.outgoing(1, 0, memoryview(raw)[2:], memoryview(outer)) == (0, 0)
    assert has_right_checksums(bytes(outer[50:]))


def test_a_filled_in_checksum_is_never_zero() -> None:
    """Zero would mean "no checksum" in UDP (RFC 768)."""
    frame = bytearray(34) + udp(b"\xff\xff" * 2, source_port=0, port=0)[:4] + b"\0\0\0\0" + b"\xff\xff"
    raw = virtio.HEADER.pack(1, 0, 42, 0, 34, 6)
    assert virtio.outgoing(1, 0, memoryview(raw)[2:], memoryview(frame)) == (0, 0)
    assert frame[40:42] == b"\xff\xff"


@pytest.mark.parametrize(
    ("gso", "start", "offset"),
    [(3, 34, 6), (1, 34, 16), (5, 36, 6), (5, 34, 16), (2, 34, 6)],
    ids=["old UDP fragmentation", "TCP for UDP", "odd start", "odd offset", "unknown"],
)
def test_an_odd_offload_cannot_travel(gso: int, start: int, offset: int) -> None:
    raw = virtio.HEADER.pack(1, gso, 42, 1000, start, offset)
    assert virtio.outgoing(1, gso, memoryview(raw)[2:], memoryview(UDP4)) is None


@pytest.mark.parametrize(
    ("offload", "size", "frame"),
    [
        pytest.param(0, 1000, TCP4, id="size without segmentation"),
        pytest.param(0x10, 1000, TCP4, id="size with checksum only"),
        pytest.param(0x01, 1000, TCP4, id="segmentation without checksum"),
        pytest.param(0x12, 1000, TCP4, id="TCP over IPv6 in IPv4"),
        pytest.param(0x13, 1000, TCP4, id="UDP in TCP"),
        pytest.param(0x11, 1000, UDP4, id="TCP in UDP"),
        pytest.param(0x14, 1000, TCP4, id="unknown segmentation"),
        pytest.param(0x91, 1000, TCP4, id="unknown bit"),
        pytest.param(0x11, 0, TCP4, id="no size"),
        pytest.param(0x11, 7, TCP4, id="tiny segments"),
        pytest.param(0x13, 31, UDP4, id="too many UDP segments"),
        pytest.param(0x11, 1000, TCP4 + b"\0", id="padding behind"),
        pytest.param(0x11, 1000, TCP4[:-1], id="shorter than its IP length"),
        pytest.param(0x11, 1000, ethernet(ip4(tcp(b"x" * 4000, flags=2), TCP)), id="SYN"),
        pytest.param(0x10, 0, ethernet(ip4(udp(b"x" * 40), UDP, fragment=0x2000)), id="first fragment"),
        pytest.param(0x10, 0, ethernet(ip4(udp(b"x" * 40), UDP, fragment=1)), id="later fragment"),
        pytest.param(0x10, 0, ethernet(ip4(udp(b"x" * 40), 1)), id="ICMP"),
        pytest.param(0x10, 0, ethernet(ip6(b"\x11\0" + bytes(6) + udp(b"x"), 0)), id="IPv6 extension header"),
        pytest.param(0x13, 1000, ethernet(ip4(struct.pack("!HHHH", 1, 2, 9, 0), UDP)), id="UDP length"),
        pytest.param(0x11, 1000, ethernet(ip4(tcp(b"")[:12] + b"\xf0" + bytes(7), TCP)), id="TCP header too long"),
        pytest.param(0x10, 0, ethernet(ip4(bytes(8), TCP)), id="TCP header cut"),
        pytest.param(0x10, 0, ethernet(ip4(udp(b""), UDP), ethertype=0x0806), id="ARP"),
        pytest.param(0, 0, b"short", id="short"),
        pytest.param(0, 0, bytes(frames.MAX_FRAME + 1), id="long"),
    ],
)
def test_what_does_not_fit_the_inner_packet_is_refused(offload: int, size: int, frame: bytes) -> None:
    assert virtio.rebuild(offload, size, memoryview(frame)) is None


FRAMES = st.sampled_from([case.values[1] for case in CASES])


@given(FRAMES, st.data(), st.sampled_from([0x10, 0x11, 0x12, 0x13]), st.integers(0, 0xFFFF))
def test_altered_frames_never_point_outside(frame: bytes, data: st.DataObject, offload: int, size: int) -> None:
    altered = bytearray(frame[: data.draw(st.integers(0, len(frame)))])
    for _ in range(3):
        if altered:
            altered[data.draw(st.integers(0, min(len(altered), 80) - 1))] = data.draw(st.integers(0, 255))
    header = virtio.rebuild(offload, size, memoryview(altered))
    if header is None:
        return
    _, _, headers, _, start, offset = virtio.HEADER.unpack(header)
    assert 14 < start < start + offset + 2 <= len(altered)
    assert headers <= len(altered)


@given(st.binary(max_size=120), st.integers(0, 255), st.integers(0, 0xFFFF), st.binary(min_size=8, max_size=8))
def test_random_input_never_raises(frame: bytes, kind: int, size: int, tail: bytes) -> None:
    virtio.rebuild(kind, size, memoryview(frame))
    virtio.outgoing(1, kind, memoryview(tail), memoryview(bytearray(frame)))
