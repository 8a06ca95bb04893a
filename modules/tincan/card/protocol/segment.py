"""Segmentation and checksums in software, for a card that cannot take an offload (what Linux's GSO does)."""

from __future__ import annotations

from struct import Struct
from typing import Final

from . import checksum, ethernet
from .packet import TCP, TCP_FLAGS, Packet, locate

_NETWORK: Final = ethernet.HEADER_SIZE
_WORD: Final = Struct("!H")
_LONG: Final = Struct("!I")
_FIN_PSH: Final = 0x01 | 0x08
_CWR: Final = 0x80


def segments(size: int, frame: memoryview, most: int | None = None) -> list[bytes] | None:
    """Cut a TCP or UDP super-frame into whole frames of at most `size` bytes of payload, checksums filled in.

    IPv4 identifications count up from the super-frame's; FIN and PSH stay on the last segment and CWR on the first.
    None when the frame is not a whole TCP or UDP packet, `size` is not positive, or they had more than `most` bytes
    together.
    """
    packet = locate(frame)
    if packet is None or size < 1:
        return None
    if most is not None:
        payload = packet.end - packet.payload
        if payload + -(-payload // size) * packet.payload > most:
            return None
    made = _cut(frame, packet, size, 1)
    for segment in made:
        _sum_transport(segment, packet, len(segment))
    return [bytes(segment) for segment in made]


def shorter(size: int, count: int, frame: memoryview) -> list[bytes] | None:
    """Cut a TCP or UDP super-frame into super-frames of at most `count` segments of `size` bytes of payload.

    Their checksums are still to be filled in, as the super-frame's was. None as for `segments`.
    """
    packet = locate(frame)
    if packet is None or size < 1 or count < 1:
        return None
    made = _cut(frame, packet, size * count, count)
    for segment in made:
        leave_checksum(segment, packet, len(segment))
    return [bytes(segment) for segment in made]


def _cut(frame: memoryview, packet: Packet, step: int, identifications: int) -> list[bytearray]:
    """Frames of at most `step` bytes of payload that lack only their transport checksum."""
    headers = bytes(frame[: packet.payload])
    cuts = range(packet.payload, packet.end, step) or range(packet.payload, packet.payload + 1)
    last = len(cuts) - 1
    made = []
    for index, start in enumerate(cuts):
        segment = bytearray(headers)
        segment += frame[start : min(start + step, packet.end)]
        if packet.version == 4:
            identification = _WORD.unpack_from(headers, 18)[0] + index * identifications
            _WORD.pack_into(segment, 18, identification & 0xFFFF)
        if packet.protocol == TCP:
            _number(segment, packet, start - packet.payload, is_first=index == 0, is_last=index == last)
        measure(segment, packet, len(segment))
        made.append(segment)
    return made


def fill_checksum(frame: memoryview) -> bytes | None:
    """The frame with its TCP or UDP checksum computed. None when it is not a whole TCP or UDP packet."""
    packet = locate(frame)
    if packet is None:
        return None
    filled = bytearray(frame)
    _sum_transport(filled, packet, packet.end)
    return bytes(filled)


def _number(segment: bytearray, packet: Packet, advance: int, *, is_first: bool, is_last: bool) -> None:
    """Set the sequence number and the flags of one TCP segment (RFC 9293, section 3.1; RFC 3168, section 6.1.2)."""
    sequence = packet.transport + 4
    _LONG.pack_into(segment, sequence, _LONG.unpack_from(segment, sequence)[0] + advance & 0xFFFFFFFF)
    if not is_last:
        segment[packet.transport + TCP_FLAGS] &= ~_FIN_PSH
    if not is_first:
        segment[packet.transport + TCP_FLAGS] &= ~_CWR & 0xFF


def measure(headers: bytearray, packet: Packet, end: int) -> None:
    """Set every length in the headers of a frame of `end` bytes, and the IPv4 header's checksum."""
    transport = packet.transport
    if packet.version == 4:
        _WORD.pack_into(headers, 16, end - _NETWORK)
        _WORD.pack_into(headers, 24, 0)
        _WORD.pack_into(headers, 24, checksum.finish(checksum.total(headers[_NETWORK:transport])))
    else:
        _WORD.pack_into(headers, 18, end - transport)
    if packet.protocol != TCP:
        _WORD.pack_into(headers, transport + 4, end - transport)


def leave_checksum(headers: bytearray, packet: Packet, end: int) -> None:
    """Make the transport checksum of a frame of `end` bytes the pseudo-header's sum only (CHECKSUM_NEEDED)."""
    _WORD.pack_into(headers, packet.transport + packet.checksum_offset, _pseudo_header(headers, packet, end))


def _sum_transport(segment: bytearray, packet: Packet, end: int) -> None:
    field = packet.transport + packet.checksum_offset
    _WORD.pack_into(segment, field, 0)
    pseudo = _pseudo_header(segment, packet, end)
    value = checksum.finish(pseudo, checksum.total(segment[packet.transport : end]))
    if packet.protocol != TCP:
        value = value or 0xFFFF  # RFC 768: zero would mean "no checksum"
    _WORD.pack_into(segment, field, value)


def _pseudo_header(segment: bytearray, packet: Packet, end: int) -> int:
    addresses = segment[26:34] if packet.version == 4 else segment[22:54]
    return checksum.pseudo_header(bytes(addresses), packet.protocol, end - packet.transport)
