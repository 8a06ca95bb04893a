"""Neighbouring UDP datagrams of one flow as the one super-frame that their sender might have made of them.

A program that sends datagram after datagram makes a frame of each. Those that were waiting for one peer travel in one
block, and there each would cost a write to the card. What the kernel's own GRO would join (`udp_gro_receive`) is joined
here instead: frames behind one another with the same headers and lengths, whose checksums the sender's kernel left
open. The receiving kernel cuts them again, so programs see the datagrams that were sent.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from ipop_modules.tincan.frames import CARD, CHECKSUM_NEEDED, FRAME_HEADER, FRAME_HEADER_SIZE

from . import ethernet
from .packet import UDP, Packet, locate
from .segment import leave_checksum, measure

MOST: Final = 64
"""As many segments of one UDP super-frame every kernel since 6.2 takes; 6.9 took more."""

_LONGEST: Final = 65_535
"""What an IPv4 packet, or what follows an IPv6 header, may have."""
_WORD: Final = Struct("!H")
_FRAGMENT_AT: Final = 20
_DONT_FRAGMENT: Final = 0x4000
"""Alone in the field: the packet's identification then means nothing (RFC 6864, section 4.1)."""


class Train(NamedTuple):
    headers: bytearray
    """The super-frame's."""
    pieces: list[memoryview]
    """Its payload, `size` bytes of each datagram."""
    size: int
    first: memoryview
    """The first frame as it came, and where things lie in it."""
    packet: Packet
    taken: int
    """Bytes of the run."""


def read(run: memoryview) -> Train | None:
    """The train that a run begins with, which holds a frame's header at least; None where no two belong together."""
    kind, offload, size, length = FRAME_HEADER.unpack_from(run)
    stride = FRAME_HEADER_SIZE + length
    if (kind, offload, size) != (CARD, CHECKSUM_NEEDED, 0) or len(run) < 2 * stride:
        return None
    if run[stride : stride + FRAME_HEADER_SIZE] != run[:FRAME_HEADER_SIZE]:
        return None
    frame = run[FRAME_HEADER_SIZE:stride]
    packet = locate(frame)
    if packet is None or packet.protocol != UDP or packet.end != length or packet.payload == length:
        return None
    if packet.version == 4 and not _is_plain(run):
        return None
    payload = length - packet.payload
    count = _alike(run, packet, min(len(run) // stride, MOST, (_LONGEST - packet.payload) // payload))
    if count < 2:
        return None
    start = FRAME_HEADER_SIZE + packet.payload
    pieces = [run[at : at + payload] for at in range(start, count * stride, stride)]
    headers = bytearray(run[FRAME_HEADER_SIZE:start])
    end = packet.payload + count * payload
    measure(headers, packet, end)
    leave_checksum(headers, packet, end)
    return Train(headers, pieces, payload, frame, packet, count * stride)


def _is_plain(run: memoryview) -> bool:
    """Whether an IPv4 packet has no options and may not be cut."""
    at = FRAME_HEADER_SIZE + ethernet.HEADER_SIZE
    return run[at] == 0x45 and _WORD.unpack_from(run, FRAME_HEADER_SIZE + _FRAGMENT_AT)[0] == _DONT_FRAGMENT


def _alike(run: memoryview, packet: Packet, count: int) -> int:
    """How many of the first `count` frames have the first one's headers."""
    if count < 2:
        return count
    layout = _layout(packet.version, packet.end - packet.payload, count)
    fields = layout.unpack_from(run)
    # IPv6 has one field a frame, IPv4 three: all but the identification and, as that is in its sum, the checksum.
    step = len(fields) // count
    if all(fields[at::step].count(fields[at]) == count for at in range(step)):
        return count
    first = fields[:step]
    return next(index for index in range(count) if fields[index * step : (index + 1) * step] != first)


@lru_cache(maxsize=256)
def _layout(version: int, payload: int, count: int) -> Struct:
    """The headers of frames that lie one behind the other, each behind its own header, without their payloads."""
    one = f"26s2x4s2x16s{payload}x" if version == 4 else f"70s{payload}x"
    return Struct("!" + one * count)
