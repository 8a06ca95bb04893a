"""Datagrams joined to a super-frame, against a plain segmentation of it: what comes out was there, once, in order."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.card.protocol import segment, train
from ipop_modules.tincan.frames import CARD, CHECKSUM_NEEDED, FRAME_HEADER, RELAY

from .packets import TCP, UDP, ethernet, has_right_checksums, ip4, ip6, tcp, udp, with_partial_checksum

PAYLOAD = bytes(range(100))


def datagram(payload: bytes = PAYLOAD, *, version: int = 4, port: int = 5000, identification: int = 7) -> bytes:
    body = udp(payload, port=port)
    packet = ip4(body, UDP, identification=identification) if version == 4 else ip6(body, UDP)
    return with_partial_checksum(ethernet(packet))


def run_of(frames: Sequence[bytes], offload: int = CHECKSUM_NEEDED, kind: int = CARD) -> memoryview:
    return memoryview(b"".join(FRAME_HEADER.pack(kind, offload, 0, len(frame)) + frame for frame in frames))


def cut_again(found: train.Train) -> list[bytes]:
    whole = bytes(found.headers) + b"".join(found.pieces)
    return segment.segments(found.size, memoryview(whole)) or []


def filled(frame: bytes) -> bytes:
    """The frame as it arrives: its checksum there, and without what an atomic datagram's identification says."""
    frame = segment.fill_checksum(memoryview(frame)) or b""
    return frame if frame[12] == 0x86 else frame[:18] + frame[20:24] + frame[26:]


@given(
    st.lists(
        st.tuples(st.sampled_from([4, 6]), st.sampled_from([1, 100, 1472]), st.sampled_from([5000, 5001])),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 120),
    st.integers(),
)
def test_what_is_taken_comes_out_again(kinds: list[tuple[int, int, int]], repeats: int, seed: int) -> None:
    kinds = [kind for kind in kinds for _ in range(repeats)]
    chance = Random(seed)
    frames = [
        datagram(chance.randbytes(size), version=version, port=port, identification=number & 0xFFFF)
        for number, (version, size, port) in enumerate(kinds)
    ]
    found = train.read(run_of(frames))
    if found is None:
        assert len(kinds) < 2 or kinds[0] != kinds[1]
        return
    made = cut_again(found)
    assert all(has_right_checksums(frame) for frame in made)
    assert [filled(frame) for frame in made] == [filled(frame) for frame in frames[: len(made)]]
    assert 2 <= len(made) <= train.MOST
    assert found.taken == len(run_of(frames[: len(made)]))
    assert bytes(found.first) == frames[0]
    longest = len(made) == train.MOST or (len(made) + 1) * kinds[0][1] > 65_000
    assert longest or len(made) == len(frames) or kinds[len(made)] != kinds[0]


@pytest.mark.parametrize(
    "frames",
    [
        [datagram()],
        [datagram(), datagram(PAYLOAD[1:])],
        [datagram(), datagram(port=5001)],
        [datagram(), datagram(version=6)],
        [datagram(b""), datagram(b"")],
        [with_partial_checksum(ethernet(ip4(tcp(PAYLOAD), TCP)))] * 2,
        [with_partial_checksum(ethernet(ip4(udp(PAYLOAD), UDP, fragment=0)))] * 2,
        [with_partial_checksum(ethernet(ip4(udp(PAYLOAD), UDP, fragment=0x2000)))] * 2,
        [with_partial_checksum(ethernet(ip4(udp(PAYLOAD), UDP, options=b"\1" * 4)))] * 2,
        [datagram() + b"padding"] * 2,
    ],
    ids=["one", "length", "flow", "version", "empty", "tcp", "may be cut", "fragment", "options", "padding"],
)
def test_no_train(frames: list[bytes]) -> None:
    assert train.read(run_of(frames)) is None


def test_another_time_to_live_ends_a_train() -> None:
    one = datagram()
    other = one[:22] + b"\x01" + one[23:]
    found = train.read(run_of([one, one, other, one]))
    assert found is not None
    assert len(found.pieces) == 2


@pytest.mark.parametrize(("offload", "kind"), [(0, CARD), (CHECKSUM_NEEDED | 1, CARD), (CHECKSUM_NEEDED, RELAY)])
def test_only_frames_whose_checksum_was_left_open(offload: int, kind: int) -> None:
    assert train.read(run_of([datagram()] * 2)) is not None
    assert train.read(run_of([datagram()] * 2, offload, kind)) is None


def test_a_run_that_ends_early() -> None:
    run = run_of([datagram()] * 3)
    found = train.read(run[:-1])
    assert found is not None
    assert len(found.pieces) == 2


@given(st.binary(min_size=8, max_size=300))
def test_random_input_is_no_train_and_no_error(run: bytes) -> None:
    train.read(memoryview(run))
