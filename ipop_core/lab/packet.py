"""An IP packet as a capture keeps it: who, to whom, and what is inside."""

from __future__ import annotations

from dataclasses import dataclass
from socket import AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, inet_ntop
from struct import Struct
from typing import Final

ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_IPV6: Final = 0x86DD
_IPV4_HEADER: Final = 20
_IPV6_HEADER: Final = 40
_UDP_HEADER: Final = 8
_FRAGMENT_OFFSET: Final = 0x1FFF
_PORTS: Final = Struct("!HH")


@dataclass(frozen=True)
class Packet:
    """One packet. Where sender and receiver share a machine, it may be a whole block that GSO has not cut yet."""

    time: float
    """When the kernel saw it, as `time.time()` counts."""
    monotonic: float
    """The same moment, as `time.monotonic()` counts."""
    protocol: int
    """The IP protocol number, -1 for what is not IP (ARP)."""
    source: str
    source_port: int
    """0 where there are no ports: neither UDP nor TCP, or a later fragment."""
    destination: str
    destination_port: int
    payload: bytes
    """What UDP carries; for everything else, what IP carries."""
    raw: bytes
    """The whole packet, from its IP header on."""

    @property
    def length(self) -> int:
        """Bytes of the whole IP packet."""
        return len(self.raw)

    @property
    def is_udp(self) -> bool:
        return self.protocol == IPPROTO_UDP


def parse_packet(raw: bytes, ethertype: int, time: float, monotonic: float) -> Packet:
    """Read a packet that begins with its network header; what is not IP has protocol -1 and no addresses."""
    if ethertype == ETHERTYPE_IPV4 and len(raw) >= _IPV4_HEADER and raw[0] >> 4 == 4:
        source, destination = inet_ntop(AF_INET, raw[12:16]), inet_ntop(AF_INET, raw[16:20])
        later_fragment = bool(int.from_bytes(raw[6:8], "big") & _FRAGMENT_OFFSET)
        body = raw[(raw[0] & 0x0F) * 4 :]
        protocol = raw[9]
    elif ethertype == ETHERTYPE_IPV6 and len(raw) >= _IPV6_HEADER and raw[0] >> 4 == 6:
        source, destination = inet_ntop(AF_INET6, raw[8:24]), inet_ntop(AF_INET6, raw[24:40])
        later_fragment = False
        body = raw[_IPV6_HEADER:]
        protocol = raw[6]
    else:
        return Packet(time, monotonic, -1, "", 0, "", 0, raw, raw)
    source_port = destination_port = 0
    if protocol in (IPPROTO_UDP, IPPROTO_TCP) and not later_fragment and len(body) >= _UDP_HEADER:
        source_port, destination_port = _PORTS.unpack_from(body)
        if protocol == IPPROTO_UDP:
            body = body[_UDP_HEADER:]
    return Packet(time, monotonic, protocol, source, source_port, destination, destination_port, body, raw)
