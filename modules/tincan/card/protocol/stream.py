"""Segments of one TCP stream, in order, as the super-frame that their sender cut them from.

Where the path loses datagrams, a super-frame travels as blocks of a segment each. One by one they would cost the
receiving kernel a write, a walk through its stack and, for every second one, an acknowledgement that travels back. What
the kernel's own GRO would join (`tcp_gro_receive`) is joined here instead, as far as it comes in one turn: full
segments with the same headers, one behind the other, whose checksums the sender's kernel left open.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Any, Final, NamedTuple

from . import ethernet
from .packet import TCP, TCP_FLAGS, Packet, locate
from .segment import leave_checksum, measure

LEAST: Final = 512
"""Bytes of a frame worth holding: with shorter ones somebody waits for each."""
MOST: Final = 44
"""Segments of 1,448 bytes that fit one packet."""

_LONGEST: Final = 65_535
"""What an IPv4 packet, or what follows an IPv6 header, may have."""
_ACK: Final = 0x10
_PSH: Final = 0x08
_DONT_FRAGMENT: Final = 0x4000
_WORD: Final = Struct("!H")


class SuperFrame(NamedTuple):
    headers: bytearray
    pieces: list[memoryview]
    """Its payload, `size` bytes of each segment, of the last one at most that."""
    size: int
    packet: Packet
    """Where things lie in it; its end is the first segment's."""


class Stream:
    """The segments that are held. Their memory must not change until they are taken."""

    def __init__(self) -> None:
        self._frames: list[memoryview] = []
        self._packet: Packet | None = None
        self._alike: tuple[bytes, ...] = ()
        self._next = 0
        """The sequence number behind the last one."""
        self._size = 0
        self._held = 0
        """Bytes of payload."""
        self._layout = _layout(4, 54)
        self._is_open = False
        """Whether another one may follow."""

    def __bool__(self) -> bool:
        return bool(self._frames)

    def begin(self, frame: memoryview) -> bool:
        """Hold the first segment, whose checksum is still to be filled in; False where none could follow it."""
        if len(frame) < LEAST:
            return False
        packet = locate(frame)
        if packet is None or packet.protocol != TCP or packet.end != len(frame):
            return False
        if packet.version == 4 and (frame[14] != 0x45 or _WORD.unpack_from(frame, 20)[0] != _DONT_FRAGMENT):
            return False
        size = packet.end - packet.payload
        if frame[packet.transport + TCP_FLAGS] != _ACK or not size:
            return False
        self._layout = layout = _layout(packet.version, packet.payload)
        self._alike, sequence, _, _ = _told(layout.unpack_from(frame))
        self._frames.append(frame)
        self._packet, self._size, self._held, self._next = packet, size, size, sequence + size & 0xFFFFFFFF
        self._is_open = True
        return True

    def add(self, frame: memoryview) -> bool:
        """Hold what follows; False where it doesn't: then what is held has to be taken first."""
        packet, length = self._packet, len(frame)
        if not self._is_open or packet is None or not packet.payload < length <= packet.end:
            return False
        alike, sequence, measured, flags = _told(self._layout.unpack_from(frame))
        size = length - packet.payload
        if sequence != self._next or flags & ~_PSH != _ACK or alike != self._alike:
            return False
        if measured != length - (ethernet.HEADER_SIZE if packet.version == 4 else packet.transport):
            return False
        if len(self._frames) == MOST or packet.payload + self._held + size > _LONGEST:
            return False
        self._frames.append(frame)
        self._held += size
        self._next = sequence + size & 0xFFFFFFFF
        self._is_open = size == self._size and not flags & _PSH
        return True

    def take(self) -> memoryview | SuperFrame | None:
        """What is held: a frame as it came, or several as one; None for nothing."""
        frames, packet = self._frames, self._packet
        self._frames, self._is_open = [], False
        if len(frames) < 2 or packet is None:
            return frames[0] if frames else None
        headers = bytearray(frames[0][: packet.payload])
        headers[packet.transport + TCP_FLAGS] = frames[-1][packet.transport + TCP_FLAGS]
        end = packet.payload + self._held
        measure(headers, packet, end)
        leave_checksum(headers, packet, end)
        return SuperFrame(headers, [frame[packet.payload :] for frame in frames], self._size, packet)


@lru_cache(maxsize=256)
def _layout(version: int, payload: int) -> Struct:
    """A segment's headers, of so many bytes, in nine fields, for `_told`; without sums and IPv4's identification."""
    if version == 4:
        return Struct(f"!16sH2x4s2x12sI5sB2s2x{payload - 52}s")
    return Struct(f"!18sH38s0sI5sB2s2x{payload - 72}s")


def _told(fields: tuple[Any, ...]) -> tuple[tuple[bytes, ...], int, int, int]:
    """What all segments of a super-frame have in common; the sequence number, IP's length field and the flags."""
    link, length, network, ports, sequence, acknowledged, flags, window, options = fields
    return (link, network, ports, acknowledged, window, options), sequence, length, flags
