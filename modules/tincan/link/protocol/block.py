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

RELAY_ROOM: Final = 256
"""More than the headers of a packet over the overlay take: the longest block goes over relays, too."""
MAX_SEALED: Final = MAX_BLOCK + RELAY_ROOM + 16
MIN_SEALED: Final = 16
MAX_SEGMENTS: Final = 64
"""UDP_MAX_SEGMENTS of Linux before 6.9: the most datagrams in one send."""

MAX_LAYOUTS: Final = 16

MAX_SEND: Final = 65_507
"""The longest payload of one UDP send: 65,535 less the IPv4 and the UDP header."""

Buffer = bytes | memoryview

_prefix: Final = Struct("!BQQ").pack


class Cutter:
    """Cuts blocks, one at a time: a block is sealed into `space`, and what is sent are views that were made before.

    Making the views anew for every block would take as long as the cipher does.
    """

    def __init__(self) -> None:
        self.space: Final = memoryview(bytearray(MAX_SEALED))
        self._layouts: dict[int, _Layout] = {}

    def cut(self, length: int, remote_rid: int, number: int, datagram_size: int) -> list[Buffer]:
        """The datagrams of the first `length` bytes of `space`, in order, each as two buffers: header and piece.

        Every datagram has `datagram_size` bytes, the last one at most that. They are valid until the next block.
        """
        layout = self._layouts.get(datagram_size) or self._layout(datagram_size)
        piece_size = layout.piece_size
        count = -(-length // piece_size)
        fields = layout.fields
        if layout.length != length:
            layout.length = length
            fields[:] = [b""] * (2 * count)
            fields[1::2] = [offset + length for offset in layout.offsets[:count]]
        fields[::2] = [_prefix(FRAGMENT, remote_rid, number)] * count
        _headers(count).pack_into(layout.headers, 0, *fields)
        buffers = layout.buffers[: 2 * count]
        buffers[-1] = self.space[(count - 1) * piece_size : length]
        return buffers

    def _layout(self, datagram_size: int) -> _Layout:
        """Paths have few different sizes; the one that was made first makes room."""
        if len(self._layouts) >= MAX_LAYOUTS:
            del self._layouts[next(iter(self._layouts))]
        layout = self._layouts[datagram_size] = _Layout(self.space, datagram_size - FRAGMENT_HEADER_SIZE)
        return layout


class _Layout:
    """Where the datagrams of one size lie: their headers in a buffer of their own, their pieces in the block."""

    __slots__ = ("buffers", "fields", "headers", "length", "offsets", "piece_size")

    def __init__(self, space: memoryview, piece_size: int) -> None:
        starts = range(0, len(space), piece_size)
        self.piece_size: Final = piece_size
        self.offsets: Final = [start << 32 for start in starts]
        self.headers: Final = bytearray(FRAGMENT_HEADER_SIZE * len(starts))
        headers = memoryview(self.headers)
        self.buffers: Final[list[Buffer]] = []
        for index, start in enumerate(starts):
            at = FRAGMENT_HEADER_SIZE * index
            self.buffers.append(headers[at : at + FRAGMENT_HEADER_SIZE])
            self.buffers.append(space[start : start + piece_size])
        self.length = 0
        """Of the last block."""
        self.fields: Final[list[bytes | int]] = []
        """What its headers were packed from: type, rid and number as bytes, offset and total as one number."""


def batches(buffers: list[Buffer], datagram_size: int) -> list[list[Buffer]]:
    """What a cutter gave, as few lists as can be sent by one call each: MAX_SEGMENTS datagrams and MAX_SEND bytes."""
    step = 2 * min(MAX_SEGMENTS, MAX_SEND // datagram_size)
    if len(buffers) <= step:
        return [buffers]
    return [buffers[start : start + step] for start in range(0, len(buffers), step)]


@lru_cache(maxsize=256)
def _headers(count: int) -> Struct:
    return Struct("!" + "17sQ" * count)
