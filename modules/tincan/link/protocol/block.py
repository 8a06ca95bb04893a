"""Cutting a sealed block into datagrams, for sends with UDP segmentation (UDP_SEGMENT).

A block is sealed once and cut afterwards, so the cost of the cipher does not depend on the path's datagram size. All
datagrams of a block but the last have the same size, so that the kernel can cut one large send into them.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Final

from .wire import FRAGMENT, FRAGMENT_HEADER_SIZE

MAX_BLOCK: Final = 65_569
"""The longest plaintext: one frame of the card with its header, and room to spare for what is gathered with it."""

GATHERED: Final = 62_000
"""As much is gathered in one block, so that it takes one send: 46 datagrams of 1,400 bytes at the most."""

MAX_SEALED: Final = MAX_BLOCK + 16
MIN_SEALED: Final = 16
MAX_SEGMENTS: Final = 64
"""UDP_MAX_SEGMENTS of Linux before 6.9: the most datagrams in one send."""

MAX_SEND: Final = 65_507
"""The longest payload of one UDP send: 65,535 less the IPv4 and the UDP header."""

Buffer = bytes | memoryview

_prefix: Final = Struct("!BQQ").pack


def cut(sealed: bytes, remote_rid: int, number: int, datagram_size: int) -> list[Buffer]:
    """The block's datagrams in order, each as two buffers: its header and its piece of `sealed`.

    Every datagram has `datagram_size` bytes, the last one at most that. `sealed` has at most MAX_SEALED bytes, and must
    not change while the pieces are in use.
    """
    piece_size = datagram_size - FRAGMENT_HEADER_SIZE
    count = -(-len(sealed) // piece_size)
    offsets, pieces = _layout(piece_size)
    prefix = _prefix(FRAGMENT, remote_rid, number)
    total = len(sealed).to_bytes(4, "big")
    view = memoryview(sealed)
    # Two list comprehensions and slice assignment: half the time of one loop with pack and append.
    buffers: list[Buffer] = [b""] * (2 * count)
    buffers[::2] = [prefix + offset + total for offset in offsets[:count]]
    buffers[1::2] = [view[piece] for piece in pieces[:count]]
    return buffers


def batches(buffers: list[Buffer], datagram_size: int) -> list[list[Buffer]]:
    """What `cut` gave, as few lists as can be sent by one call each: MAX_SEGMENTS datagrams and MAX_SEND bytes."""
    step = 2 * min(MAX_SEGMENTS, MAX_SEND // datagram_size)
    if len(buffers) <= step:
        return [buffers]
    return [buffers[start : start + step] for start in range(0, len(buffers), step)]


@lru_cache(maxsize=64)
def _layout(piece_size: int) -> tuple[list[bytes], list[slice]]:
    """The offset field and the slice of every piece of the longest block; paths have few different sizes."""
    starts = range(0, MAX_SEALED, piece_size)
    return [start.to_bytes(4, "big") for start in starts], [slice(start, start + piece_size) for start in starts]
