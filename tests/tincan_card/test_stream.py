"""Segments joined to a super-frame, against the plain segmentation that they come from."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.card.protocol import segment
from ipop_modules.tincan.card.protocol.stream import LEAST, MOST, Stream, SuperFrame

from .packets import TCP, ethernet, has_right_checksums, ip4, ip6, tcp, with_partial_checksum

SIZE = 1000
STAMPS = bytes([1, 1, 8, 10, *range(8)])
ACK, PSH = 0x10, 0x08


def piece(
    size: int = SIZE,
    *,
    version: int = 4,
    sequence: int = 1000,
    flags: int = ACK,
    options: bytes = STAMPS,
    fragment: int = 0x4000,
    fill: int = 1,
) -> bytes:
    body = tcp(bytes([fill]) * size, flags=flags, sequence=sequence, options=options)
    packet = ip4(body, TCP, fragment=fragment) if version == 4 else ip6(body, TCP)
    return with_partial_checksum(ethernet(packet))


def row(count: int, **options: int) -> list[bytes]:
    return [piece(sequence=1000 + index * SIZE, fill=index % 251, **options) for index in range(count)]  # type: ignore[arg-type]  # all that are used are whole numbers


def joined(frames: Iterable[bytes]) -> list[tuple[int, bytes]]:
    """What comes of frames that are written in one turn: with size 0 as they came, else super-frames."""
    stream, out = Stream(), list[tuple[int, bytes]]()

    def take() -> None:
        taken = stream.take()
        if isinstance(taken, SuperFrame):
            out.append((taken.size, bytes(taken.headers) + b"".join(taken.pieces)))
        elif taken is not None:
            out.append((0, bytes(taken)))

    for frame in map(memoryview, frames):
        if stream and stream.add(frame):
            continue
        take()
        if not stream.begin(frame):
            out.append((0, bytes(frame)))
    take()
    assert not stream
    return out


def cut(found: Iterable[tuple[int, bytes]]) -> list[bytes]:
    """As the receiving kernel cuts them, checksums filled in."""
    frames = list[bytes]()
    for size, frame in found:
        frames += (segment.segments(size, memoryview(frame)) or []) if size else [filled(frame)]
    return frames


def filled(frame: bytes) -> bytes:
    return segment.fill_checksum(memoryview(frame)) or b""


def content(frame: bytes) -> bytes:
    """Without what an atomic datagram's identification says."""
    return frame if frame[12] == 0x86 else frame[:18] + frame[20:24] + frame[26:]


@given(
    st.sampled_from([4, 6]),
    st.integers(LEAST, 1448),
    st.integers(1, 60_000),
    st.sampled_from([ACK, ACK | PSH]),
    st.sampled_from([b"", STAMPS]),
    st.integers(0, 2**32 - 1),
    st.integers(),
)
def test_what_a_super_frame_was_cut_into_becomes_it_again(
    version: int, size: int, length: int, flags: int, options: bytes, sequence: int, seed: int
) -> None:
    body = tcp(Random(seed).randbytes(length), flags=flags, options=options, sequence=sequence)
    whole = with_partial_checksum(ethernet(ip4(body, TCP) if version == 4 else ip6(body, TCP)))
    pieces = segment.shorter(size, 1, memoryview(whole)) or []
    found = joined(pieces)
    headers = len(whole) - length
    if len(pieces) <= MOST and all(len(one) >= LEAST for one in pieces):
        assert found == [(size if len(pieces) > 1 else 0, whole)]
    assert b"".join(frame[headers:] for _, frame in found) == whole[headers:]
    assert list(map(content, cut(found))) == [content(filled(one)) for one in pieces]
    assert all(map(has_right_checksums, cut(found)))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 0, SIZE, -SIZE, 1]),
            st.sampled_from([SIZE, SIZE, SIZE, 600, 40, 0]),
            st.sampled_from([ACK, ACK, ACK, ACK | PSH, ACK | 0x01, 0x12, 0x50]),
            st.sampled_from([4, 4, 4, 6]),
            st.sampled_from([STAMPS, STAMPS, bytes(12)]),
            st.sampled_from([0x4000, 0x4000, 0]),
        ),
        max_size=80,
    )
)
def test_whatever_is_written_comes_out_once_and_in_order(kinds: list[tuple[int, int, int, int, bytes, int]]) -> None:
    frames, sequence = list[bytes](), 1000
    for number, (jump, size, flags, version, options, fragment) in enumerate(kinds):
        sequence = sequence + jump & 0xFFFFFFFF
        frames.append(
            piece(
                size,
                version=version,
                sequence=sequence,
                flags=flags,
                options=options,
                fragment=fragment,
                fill=number % 251,
            )
        )
        sequence += size
    assert list(map(content, cut(joined(frames)))) == [content(filled(frame)) for frame in frames]


@pytest.mark.parametrize("version", [4, 6])
def test_a_whole_row_is_one_super_frame_as_long_as_a_packet_may_be(version: int) -> None:
    sizes = [len(frame) for _, frame in joined(row(100, version=version))]
    assert len(sizes) == 3
    assert MOST * SIZE < sizes[0] < 65_536


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("options", [b"", STAMPS, bytes(40)])
def test_no_super_frame_is_longer_than_a_packet_may_be(version: int, options: bytes) -> None:
    for size in range(32_650, 32_768):
        frames = [piece(size, version=version, options=options, sequence=1000 + index * size) for index in range(2)]
        found = joined(frames)
        assert len(found) == 2 or len(found[0][1]) - 14 <= 65_535
        assert list(map(content, cut(found))) == [content(filled(frame)) for frame in frames]


@pytest.mark.parametrize(
    "other",
    [
        {"sequence": 1000 + 2 * SIZE},
        {"flags": ACK | 0x01},
        {"flags": 0x04},
        {"options": b""},
        {"options": bytes(12)},
        {"version": 6},
        {"size": SIZE + 1},
        {"size": 0},
    ],
)
def test_what_does_not_follow_is_not_joined(other: dict[str, int | bytes]) -> None:
    frames = [piece(), piece(**{"sequence": 1000 + SIZE, **other})]  # type: ignore[arg-type]  # as in `piece`
    assert joined(frames) == [(0, frame) for frame in frames]


@pytest.mark.parametrize("last", [{"flags": ACK | PSH}, {"size": SIZE - 1}])
def test_nothing_follows_a_last_segment(last: dict[str, int]) -> None:
    second = piece(**{"sequence": 1000 + SIZE, **last})  # type: ignore[arg-type]  # as in `piece`
    third = piece(sequence=1000 + SIZE + last.get("size", SIZE))
    found = joined([piece(), second, third])
    assert [bool(size) for size, _ in found] == [True, False]
    assert found[1][1] == third


@pytest.mark.parametrize(
    "alone", [piece(40), piece(fragment=0), piece(fragment=0x2000), piece()[:-1], piece() + b"\0", bytes(1000)]
)
def test_what_begins_nothing_is_not_held(alone: bytes) -> None:
    assert not Stream().begin(memoryview(alone))


def test_the_bytes_of_a_super_frame_are_those_of_its_segments() -> None:
    (found,) = joined(row(5))
    assert found[0] == SIZE
    assert [one == other for one, other in pairwise(cut([found]))] == [False] * 4
