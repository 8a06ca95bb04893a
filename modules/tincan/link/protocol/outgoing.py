"""Blocks of one datagram each that leave together, in one send with UDP segmentation (UDP_SEGMENT)."""

from __future__ import annotations

from .block import MAX_SEGMENTS, MAX_SEND, Buffer
from .keys import TAG_SIZE
from .wire import FRAGMENT_HEADER_SIZE


class Outgoing:
    """All of one size, of which the last may be shorter, as the kernel cuts what it is given."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._buffers: list[Buffer] = []
        self._size = 0
        """Bytes of each datagram."""
        self._length = 0
        """Bytes of plaintext."""
        self._is_open = True

    def takes(self, length: int) -> bool:
        """Whether a block with so many bytes of plaintext may follow."""
        if not self._numbers:
            return True
        count = len(self._numbers) + 1
        fits = length + TAG_SIZE + FRAGMENT_HEADER_SIZE <= self._size
        return self._is_open and fits and count <= MAX_SEGMENTS and count * self._size <= MAX_SEND

    def add(self, number: int, header: bytes, sealed: bytes) -> None:
        """Take a block that `takes` has admitted."""
        size = len(header) + len(sealed)
        self._is_open = not self._numbers or size == self._size
        self._size = self._size if self._numbers else size
        self._numbers.append(number)
        self._buffers += (header, sealed)
        self._length += len(sealed) - TAG_SIZE

    def take(self) -> tuple[list[int], list[Buffer], int, int]:
        """The blocks' numbers, their headers and bodies, bytes of each datagram, and bytes of plaintext in all."""
        taken = self._numbers, self._buffers, self._size, self._length
        self._numbers, self._buffers, self._length, self._is_open = [], [], 0, True
        return taken
