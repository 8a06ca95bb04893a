"""Runs of card frames cut into shorter ones, for a peer to which the path loses datagrams.

The one place besides the lane where the card's knowledge of packets meets the links' knowledge of paths.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..card.protocol.packet import locate
from ..card.protocol.segment import shorter
from ..frames import CHECKSUM_NEEDED, FRAME_HEADER, FRAME_HEADER_SIZE, SEGMENT_MASK


def shorten(run: memoryview, limit: int) -> Iterator[bytes]:
    """Runs of at most `limit` bytes with the same packets, in order; a frame that can't be cut goes as it is."""
    waiting = bytearray()
    for frame in _short_frames(run, limit):
        if waiting and len(waiting) + len(frame) > limit:
            yield bytes(waiting)
            waiting.clear()
        waiting += frame
    if waiting:
        yield bytes(waiting)


def _short_frames(run: memoryview, limit: int) -> Iterator[bytes]:
    at = 0
    while at < len(run):
        kind, offload, size, length = FRAME_HEADER.unpack_from(run, at)
        end = at + FRAME_HEADER_SIZE + length
        if end - at <= limit or not offload & SEGMENT_MASK:
            yield bytes(run[at:end])
        else:
            yield from _cut(kind, offload, size, run[at + FRAME_HEADER_SIZE : end], limit)
        at = end


def _cut(kind: int, offload: int, size: int, frame: memoryview, limit: int) -> Iterator[bytes]:
    packet = locate(frame)
    headers = 0 if packet is None else packet.payload
    count = max(1, (limit - FRAME_HEADER_SIZE - headers) // size)
    for piece in shorter(size, count, frame) or [bytes(frame)]:
        if len(piece) - headers > size:
            yield FRAME_HEADER.pack(kind, offload, size, len(piece)) + piece
        else:
            yield FRAME_HEADER.pack(kind, offload & CHECKSUM_NEEDED, 0, len(piece)) + piece
