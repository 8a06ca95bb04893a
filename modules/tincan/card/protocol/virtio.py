"""The virtio-net header of a TAP, and the little of it that travels (Virtio 1.3, section 5.1.6).

    offset  size  field (native byte order, as a TAP without TUNSETVNETLE or TUNSETVNETBE has it)
    0       1     flags            NEEDS_CHECKSUM: the transport checksum is still to be filled in
    1       1     segmentation     kind, and the ECN bit
    2       2     header length    Ethernet, IP and transport header
    4       2     segment size     bytes of payload in each segment
    6       2     checksum start   where the sum begins
    8       2     checksum offset  where it goes, counted from the start

A peer's header is never handed to the kernel. Two values travel, `offload` and `size` (`frames.py`), and `rebuild`
makes the ten bytes from them and from the inner packet: a hostile peer cannot point the kernel outside the frame.
"""

from __future__ import annotations

import sys
from struct import Struct
from typing import Final

from ipop_modules.tincan.frames import (
    CARD,
    CHECKSUM_NEEDED,
    FRAME_HEADER_SIZE,
    SEGMENT_MASK,
    SEGMENT_NONE,
    SEGMENT_TCP4,
    SEGMENT_TCP6,
    SEGMENT_UDP,
)

from . import checksum, ethernet
from .packet import TCP, TCP_CHECKSUM, TCP_FLAGS, UDP, UDP_CHECKSUM, Packet, locate, ordinary

HEADER: Final = Struct("=BBHHHH")
HEADER_SIZE: Final = HEADER.size
TAIL: Final = Struct("=2xHHH")
"""The header's last eight bytes: segment size, checksum start, checksum offset."""

NEEDS_CHECKSUM: Final = 1
GSO_NONE: Final = 0
GSO_TCP4: Final = 1
GSO_TCP6: Final = 4
GSO_UDP: Final = 5
GSO_ECN: Final = 0x80

PLAIN: Final = bytes(HEADER_SIZE)
"""The header of a frame that wants nothing of the kernel."""

MINIMUM_TCP_SEGMENT: Final = 8
"""Linux's TCP_MIN_GSO_SIZE."""
MAXIMUM_UDP_SEGMENTS: Final = 128
"""Linux's UDP_MAX_SEGMENTS."""

_IPV4_TRANSPORT: Final = 34
_CHECKSUM_AT: Final = {TCP: TCP_CHECKSUM, UDP: UDP_CHECKSUM}
_ORDINARY: Final = {
    protocol: HEADER.pack(NEEDS_CHECKSUM, GSO_NONE, 0, 0, _IPV4_TRANSPORT, offset)
    for protocol, offset in _CHECKSUM_AT.items()
}
"""Headers for `packet.ordinary`, by protocol."""

PARTIAL: Final = bytes((NEEDS_CHECKSUM, GSO_NONE))
"""The first two bytes for most packets of programs."""
LONG_ENOUGH: Final = 54
"""Bytes of the shortest frame with an IPv4 and a TCP header."""
_BEHIND: Final = Struct("=4x4s12x3s5xHxB")
"""The header's last eight bytes and the frame: checksum start and offset; ether type, version and header length; the
fragment field, its bytes swapped or not; protocol."""
_LIKE: Final = Struct("=20x3s5xHxB")
"""A frame behind its header: as in `_BEHIND`, without the checksum's place."""
LOOKS: Final = Struct("=4x19s5x4s")
"""Of the last eight bytes and the frame behind: the checksum's place, the Ethernet header and IP's version; then the
fragment field to the protocol."""
_PARTIAL_CARD: Final = bytes((CARD, CHECKSUM_NEEDED))
_FRAGMENTED: Final = int.from_bytes((0x3FFF).to_bytes(2, "big"), sys.byteorder)
_PLACES: Final = {protocol: Struct("=HH").pack(_IPV4_TRANSPORT, offset) for protocol, offset in _CHECKSUM_AT.items()}

_SYN_RST: Final = 0x02 | 0x04
_CWR: Final = 0x80
_SEGMENT_OF: Final = {GSO_TCP4: SEGMENT_TCP4, GSO_TCP6: SEGMENT_TCP6, GSO_UDP: SEGMENT_UDP}
_GSO_OF: Final = {segment: gso for gso, segment in _SEGMENT_OF.items()}


def is_ordinary(tail: memoryview) -> bool:
    """Whether TCP or UDP in plain IPv4 wants its checksum filled in: `outgoing` would give (CHECKSUM_NEEDED, 0).

    The short way for a PARTIAL header; `tail` is its last eight bytes and a frame that is LONG_ENOUGH behind them.
    """
    place, head, fragment, protocol = _BEHIND.unpack_from(tail)
    return head == b"\x08\x00\x45" and not fragment & _FRAGMENTED and _PLACES.get(protocol) == place


def likeness(frame: memoryview) -> tuple[bytes, bytes] | None:
    """What LOOKS finds in others for the same card that are ordinary as well.

    `frame` lies behind its own header; the others still have a PARTIAL header's last eight bytes before them. None
    where `frame` is not ordinary.
    """
    if len(frame) < FRAME_HEADER_SIZE + LONG_ENOUGH or frame[:2] != _PARTIAL_CARD:
        return None
    head, fragment, protocol = _LIKE.unpack_from(frame)
    place = _PLACES.get(protocol)
    if place is None or head != b"\x08\x00\x45" or fragment & _FRAGMENTED:
        return None
    head, rest = LOOKS.unpack_from(frame)
    return place + head[4:], rest


def outgoing(flags: int, gso: int, tail: memoryview, frame: memoryview) -> tuple[int, int] | None:
    """What travels of a header that the TAP gave: (offload, size). None when such a frame cannot travel.

    `flags` and `gso` are the header's first two bytes; `tail` begins with the other eight.
    A checksum that lies elsewhere than in the outer TCP or UDP header (a tunnel's inner packet) is filled in here, in
    place, as the receiver could not know where it belongs.
    """
    needs_checksum = flags & NEEDS_CHECKSUM
    if gso == GSO_NONE and not needs_checksum:
        return SEGMENT_NONE, 0
    size, start, offset = TAIL.unpack_from(tail)
    if gso == GSO_NONE and start == _IPV4_TRANSPORT and _CHECKSUM_AT.get(ordinary(frame)) == offset:
        return CHECKSUM_NEEDED, 0
    packet = locate(frame)
    is_outer = packet is not None and start == packet.transport and offset == packet.checksum_offset
    if gso == GSO_NONE:
        if is_outer:
            return CHECKSUM_NEEDED, 0
        return (SEGMENT_NONE, 0) if _fill(frame, start, offset) else None
    segment = _SEGMENT_OF.get(gso & ~GSO_ECN)
    if packet is None or segment is None or not needs_checksum or not is_outer:
        return None
    if not _may_segment(segment, size, packet, frame):
        return None
    return segment | CHECKSUM_NEEDED, size


def rebuild(offload: int, size: int, frame: memoryview) -> bytes | None:
    """The ten header bytes for a frame from a peer. None when its offloads do not fit its inner packet: drop it."""
    if len(frame) not in ethernet.FRAME_SIZES:
        return None
    if not offload:
        return PLAIN if not size else None
    segment = offload & SEGMENT_MASK
    if offload != segment | CHECKSUM_NEEDED:
        return None
    if segment == SEGMENT_NONE:
        return _checksum_header(frame) if not size else None
    packet = locate(frame)
    if packet is None:
        return None
    if not _may_segment(segment, size, packet, frame):
        return None
    gso = _GSO_OF[segment]
    if packet.protocol == TCP and frame[packet.transport + TCP_FLAGS] & _CWR:
        gso |= GSO_ECN
    return _header(gso, size, packet)


def headers_length(header: bytes) -> int:
    """Of a super-frame's header from `rebuild`: bytes of Ethernet, IP and transport header before the payload."""
    return int(HEADER.unpack(header)[2])


def train_header(size: int, packet: Packet) -> bytes:
    """The ten header bytes for datagrams of `size` bytes of payload that were made one super-frame (train.py)."""
    return _header(GSO_UDP, size, packet)


def stream_header(size: int, packet: Packet) -> bytes:
    """The ten header bytes for TCP segments of `size` bytes of payload that were made one super-frame (stream.py)."""
    return _header(GSO_TCP4 if packet.version == 4 else GSO_TCP6, size, packet)


def _checksum_header(frame: memoryview) -> bytes | None:
    header = _ORDINARY.get(ordinary(frame))
    if header is not None:
        return header
    packet = locate(frame)
    return _header(GSO_NONE, 0, packet) if packet else None


def _header(gso: int, size: int, packet: Packet) -> bytes:
    # The header's length matters to segmentation only; the kernel finds the least that it needs.
    length = packet.payload if gso else 0
    return HEADER.pack(NEEDS_CHECKSUM, gso, length, size, packet.transport, packet.checksum_offset)


def _may_segment(segment: int, size: int, packet: Packet, frame: memoryview) -> bool:
    if packet.end != len(frame):
        return False
    if segment == SEGMENT_UDP:
        return packet.protocol == UDP and size > 0 and packet.end - packet.payload <= size * MAXIMUM_UDP_SEGMENTS
    if packet.protocol != TCP or size < MINIMUM_TCP_SEGMENT or frame[packet.transport + TCP_FLAGS] & _SYN_RST:
        return False
    return (segment, packet.version) in ((SEGMENT_TCP4, 4), (SEGMENT_TCP6, 6))


def _fill(frame: memoryview, start: int, offset: int) -> bool:
    """Complete a partial checksum in place, as the kernel's skb_checksum_help does."""
    field = start + offset
    if start < ethernet.HEADER_SIZE or field + 2 > len(frame):
        return False
    value = checksum.finish(checksum.total(frame[start:])) or 0xFFFF
    frame[field : field + 2] = value.to_bytes(2, "big")
    return True
