"""Where things lie in a frame that carries TCP or UDP: the only inner packets that offloads are allowed on.

IPv4 may have options; IPv6 may have no extension header. Fragments have no whole transport header and are refused.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from . import ethernet

TCP: Final = 6
UDP: Final = 17
ICMPV6: Final = 58

TCP_CHECKSUM: Final = 16
UDP_CHECKSUM: Final = 6
TCP_FLAGS: Final = 13

_IPV4: Final = Struct("!12xHBxH2xHxB")
"""Ether type, version and header length, total length, fragment, protocol."""
_IPV6: Final = Struct("!18xHB")
"""Payload length, next header."""
_UDP_LENGTH: Final = Struct("!4xH")
_FRAGMENTED: Final = 0x3FFF
"""More fragments, or an offset."""

_NETWORK: Final = ethernet.HEADER_SIZE
_IPV6_SIZE: Final = 40
_TCP_SIZE: Final = 20
_UDP_SIZE: Final = 8
_SHORTEST: Final = _NETWORK + 20 + _UDP_SIZE


class Packet(NamedTuple):
    """Offsets count from the frame's first byte."""

    version: int
    protocol: int
    transport: int
    """The TCP or UDP header."""
    payload: int
    """Behind the TCP or UDP header."""
    end: int
    """Behind the IP packet; Ethernet padding may follow."""

    @property
    def checksum_offset(self) -> int:
        """The checksum field, counted from the transport header."""
        return TCP_CHECKSUM if self.protocol == TCP else UDP_CHECKSUM


def ordinary(frame: memoryview) -> int:
    """TCP or UDP when the frame is IPv4 without options or fragmentation, with room for that header; otherwise 0.

    The quick answer for most packets; it looks at no length inside the packet.
    """
    if len(frame) < _SHORTEST:
        return 0
    ethertype, version, _, fragment, protocol = _IPV4.unpack_from(frame)
    if ethertype != ethernet.IPV4 or version != 0x45 or fragment & _FRAGMENTED:
        return 0
    if protocol == UDP or (protocol == TCP and len(frame) >= _NETWORK + 20 + _TCP_SIZE):
        return int(protocol)
    return 0


def locate(frame: memoryview) -> Packet | None:
    """The layout of a whole TCP or UDP packet in an Ethernet frame, every length bounded; None for anything else."""
    if len(frame) < _SHORTEST:
        return None
    ethertype, version, length, fragment, protocol = _IPV4.unpack_from(frame)
    if ethertype == ethernet.IPV4:
        transport = _NETWORK + (version & 0x0F) * 4
        end = _NETWORK + length
        if not 0x45 <= version <= 0x4F or fragment & _FRAGMENTED or end > len(frame):
            return None
        return _locate_payload(frame, 4, protocol, transport, end)
    if ethertype != ethernet.IPV6 or version >> 4 != 6 or len(frame) < _NETWORK + _IPV6_SIZE:
        return None
    length, protocol = _IPV6.unpack_from(frame)
    end = _NETWORK + _IPV6_SIZE + length
    if end > len(frame):
        return None
    return _locate_payload(frame, 6, protocol, _NETWORK + _IPV6_SIZE, end)


def _locate_payload(frame: memoryview, version: int, protocol: int, transport: int, end: int) -> Packet | None:
    if protocol == UDP:
        payload = transport + _UDP_SIZE
        if payload > end or _UDP_LENGTH.unpack_from(frame, transport)[0] != end - transport:
            return None
        return Packet(version, UDP, transport, payload, end)
    if protocol == TCP:
        if transport + _TCP_SIZE > end:
            return None
        payload = transport + (frame[transport + 12] >> 4) * 4
        if payload < transport + _TCP_SIZE or payload > end:
            return None
        return Packet(version, TCP, transport, payload, end)
    return None
