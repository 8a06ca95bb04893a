"""Runs of frames cut for a lossy path: the same packets, in shorter runs."""

from __future__ import annotations

import pytest

from ipop_modules.tincan.card.protocol.segment import segments
from ipop_modules.tincan.frames import (
    CARD,
    CHECKSUM_NEEDED,
    FRAME_HEADER,
    FRAME_HEADER_SIZE,
    SEGMENT_TCP4,
    SEGMENT_TCP6,
    SEGMENT_UDP,
)
from ipop_modules.tincan.link.shortening import shorten

from ..tincan_card import packets


def frames_of(run: bytes) -> list[tuple[int, int, bytes]]:
    found, at = [], 0
    while at < len(run):
        _, offload, size, length = FRAME_HEADER.unpack_from(run, at)
        at += FRAME_HEADER_SIZE
        found.append((offload, size, run[at : at + length]))
        at += length
    return found


def wire_packets(runs: list[bytes]) -> list[bytes]:
    """What goes over the wire in the end, each super-frame segmented as its receiver's kernel would."""
    out: list[bytes] = []
    for run in runs:
        for _, size, frame in frames_of(run):
            out += segments(size or 65_535, memoryview(frame)) or []
    return out


@pytest.mark.parametrize("limit", [1000, 1500, 2800, 5000, 20_000, 70_000])
@pytest.mark.parametrize("kind", [SEGMENT_TCP4, SEGMENT_TCP6, SEGMENT_UDP])
def test_the_same_packets_in_shorter_runs(kind: int, limit: int) -> None:
    payload = bytes(range(256)) * 200
    body, protocol = (packets.udp(payload), 17) if kind == SEGMENT_UDP else (packets.tcp(payload, flags=0x19), 6)
    packet = packets.ip6(body, protocol) if kind == SEGMENT_TCP6 else packets.ip4(body, protocol)
    frame = packets.with_partial_checksum(packets.ethernet(packet))
    size = 1400
    run = FRAME_HEADER.pack(CARD, kind | CHECKSUM_NEEDED, size, len(frame)) + frame
    short = list(shorten(memoryview(run), limit))
    assert all(len(item) <= max(limit, size + 120) for item in short)
    assert wire_packets(short) == wire_packets([run])


def test_small_frames_are_grouped_and_none_is_cut() -> None:
    frame = FRAME_HEADER.pack(CARD, 0, 0, 100) + bytes(100)
    short = list(shorten(memoryview(frame * 10), 330))
    assert [len(frames_of(item)) for item in short] == [3, 3, 3, 1]
