from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.card.protocol import segment

from .packets import TCP, UDP, ethernet, has_right_checksums, ip4, ip6, tcp, udp, with_partial_checksum

PAYLOAD = bytes(range(256)) * 10


@given(
    st.binary(min_size=1, max_size=3000),
    st.integers(8, 1500),
    st.sampled_from([(4, TCP), (6, TCP), (4, UDP), (6, UDP)]),
    st.sampled_from([b"", b"\1" * 12]),
)
def test_segments_are_whole_packets_that_add_up(payload: bytes, size: int, kind: tuple[int, int], opts: bytes) -> None:
    version, protocol = kind
    body = tcp(payload, options=opts) if protocol == TCP else udp(payload)
    frame = with_partial_checksum(ethernet((ip4 if version == 4 else ip6)(body, protocol)))
    made = segment.segments(size, memoryview(frame))
    assert made is not None
    header = len(frame) - len(payload)
    assert b"".join(one[header:] for one in made) == payload
    for one in made:
        assert has_right_checksums(one)
        assert len(one) <= header + size
        length = struct.unpack_from("!H", one, 16 if version == 4 else 18)[0]
        assert length == len(one) - (14 if version == 4 else 54)


def test_tcp_numbers_and_flags() -> None:
    frame = ethernet(
        ip4(tcp(PAYLOAD, flags=0x80 | 0x10 | 0x08 | 0x01, sequence=0xFFFFFFF0), TCP, identification=0xFFFF)
    )
    made = segment.segments(1000, memoryview(frame))
    assert made is not None
    assert [struct.unpack_from("!I", one, 38)[0] for one in made] == [0xFFFFFFF0, 984, 1984]
    assert [one[47] for one in made] == [0x90, 0x10, 0x19]
    assert [struct.unpack_from("!H", one, 18)[0] for one in made] == [0xFFFF, 0, 1]


def test_udp_lengths() -> None:
    made = segment.segments(1000, memoryview(ethernet(ip4(udp(PAYLOAD), UDP))))
    assert made is not None
    assert [struct.unpack_from("!H", one, 38)[0] for one in made] == [1008, 1008, 568]


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_fill_checksum(protocol: int) -> None:
    body = tcp(b"abc") if protocol == TCP else udp(b"abc")
    for packet in (ip4(body, protocol), ip6(body, protocol)):
        frame = with_partial_checksum(ethernet(packet))
        assert not has_right_checksums(frame)
        filled = segment.fill_checksum(memoryview(frame))
        assert filled is not None
        assert has_right_checksums(filled)


def test_a_udp_checksum_is_never_zero() -> None:
    for word in range(0x10000):
        frame = ethernet(ip4(udp(struct.pack("!H", word)), UDP))
        filled = segment.fill_checksum(memoryview(frame))
        assert filled is not None
        if filled[40:42] == b"\xff\xff":
            return
    pytest.fail("no payload gave 0xFFFF")


@given(st.binary(max_size=200), st.integers(0, 0xFFFF))
def test_random_input_gives_none(frame: bytes, size: int) -> None:
    assert segment.segments(size, memoryview(frame)) is None
    assert segment.fill_checksum(memoryview(frame)) is None
