"""Echo requests and replies, ICMP for IPv4 (RFC 792) and for IPv6 (RFC 4443), in whole Ethernet frames."""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from . import checksum, ethernet
from .packet import ICMPV6

_ICMP: Final = 1
_KINDS4: Final = {8: True, 0: False}
"""Message types of ICMP, and whether they are requests."""
_KINDS6: Final = {128: True, 129: False}
_IPV4: Final = Struct("!BBHHHBBH4s4s")
_IPV6: Final = Struct("!IHBB16s16s")
_ECHO: Final = Struct("!BBHHH")
_DO_NOT_FRAGMENT: Final = 0x4000
_HOPS: Final = 64
OVERHEAD: Final = {4: _IPV4.size + _ECHO.size, 6: _IPV6.size + _ECHO.size}
"""Bytes of IP and ICMP header before an echo's payload, by IP version."""


class Echo(NamedTuple):
    is_request: bool
    source: bytes
    """Packed address, 4 or 16 bytes, as is the destination."""
    destination: bytes
    identifier: int
    sequence: int
    payload: bytes


def build(destination_mac: bytes, source_mac: bytes, echo: Echo) -> bytes:
    """The Ethernet frame of an echo request or reply."""
    if len(echo.source) == 4:
        body = _body(8 if echo.is_request else 0, echo, 0)
        fields = (0x45, 0, _IPV4.size + len(body), 0, _DO_NOT_FRAGMENT, _HOPS, _ICMP)
        blank = _IPV4.pack(*fields, 0, echo.source, echo.destination)
        header = _IPV4.pack(*fields, checksum.finish(checksum.total(blank)), echo.source, echo.destination)
        return ethernet.HEADER.pack(destination_mac, source_mac, ethernet.IPV4) + header + body
    length = _ECHO.size + len(echo.payload)
    pseudo = checksum.pseudo_header(echo.source + echo.destination, ICMPV6, length)
    header = _IPV6.pack(6 << 28, length, ICMPV6, _HOPS, echo.source, echo.destination)
    body = _body(128 if echo.is_request else 129, echo, pseudo)
    return ethernet.HEADER.pack(destination_mac, source_mac, ethernet.IPV6) + header + body


def parse(frame: bytes | memoryview) -> Echo | None:
    """An echo request or reply with right lengths and checksums, not fragmented. None for anything else."""
    if len(frame) < ethernet.HEADER_SIZE + OVERHEAD[4]:
        return None
    ethertype = frame[12] << 8 | frame[13]
    if ethertype == ethernet.IPV4:
        return _parse4(bytes(frame[ethernet.HEADER_SIZE :]))
    if ethertype == ethernet.IPV6:
        return _parse6(bytes(frame[ethernet.HEADER_SIZE :]))
    return None


def _parse4(packet: bytes) -> Echo | None:
    first, _, length, _, fragment, _, protocol, _, source, destination = _IPV4.unpack_from(packet)
    size = (first & 0x0F) * 4
    if first >> 4 != 4 or size < _IPV4.size or not size + _ECHO.size <= length <= len(packet):
        return None
    if protocol != _ICMP or fragment & 0x3FFF or checksum.finish(checksum.total(packet[:size])):
        return None
    return _parse_body(packet[size:length], source, destination, _KINDS4, 0)


def _parse6(packet: bytes) -> Echo | None:
    if len(packet) < OVERHEAD[6]:
        return None
    first, length, following, _, source, destination = _IPV6.unpack_from(packet)
    end = _IPV6.size + length
    if first >> 28 != 6 or following != ICMPV6 or not OVERHEAD[6] <= end <= len(packet):
        return None
    pseudo = checksum.pseudo_header(source + destination, ICMPV6, length)
    return _parse_body(packet[_IPV6.size : end], source, destination, _KINDS6, pseudo)


def _parse_body(body: bytes, source: bytes, destination: bytes, kinds: dict[int, bool], pseudo: int) -> Echo | None:
    kind, code, _, identifier, sequence = _ECHO.unpack_from(body)
    if kind not in kinds or code or checksum.finish(pseudo, checksum.total(body)):
        return None
    return Echo(kinds[kind], source, destination, identifier, sequence, body[_ECHO.size :])


def _body(kind: int, echo: Echo, pseudo: int) -> bytes:
    blank = _ECHO.pack(kind, 0, 0, echo.identifier, echo.sequence) + echo.payload
    value = checksum.finish(pseudo, checksum.total(blank))
    return _ECHO.pack(kind, 0, value, echo.identifier, echo.sequence) + echo.payload
