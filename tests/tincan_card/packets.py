"""Inner packets for tests, built and verified by plain loops that share nothing with the code under test."""

from __future__ import annotations

import struct
from ipaddress import ip_address

ALICE = bytes(range(1, 21))
BOB = bytes(range(101, 121))
ALICE_MAC = bytes([0x02, 2, 3, 4, 5, 6])
BOB_MAC = bytes([0x66, 102, 103, 104, 105, 106])
ALICE4, BOB4 = ip_address("192.168.10.10").packed, ip_address("192.168.10.20").packed
ALICE6, BOB6 = ip_address("fd00::10").packed, ip_address("fd00::20").packed
TCP, UDP = 6, 17


def rfc1071(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    value: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    return value


def pseudo(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    return source + destination + struct.pack("!IxxxB", length, protocol)


def tcp(payload: bytes, *, flags: int = 0x10, sequence: int = 1000, options: bytes = b"") -> bytes:
    offset = (20 + len(options)) // 4 << 4
    return struct.pack("!HHIIBBHHH", 4000, 5000, sequence, 77, offset, flags, 502, 0, 0) + options + payload


def udp(payload: bytes, *, source_port: int = 4000, port: int = 5000) -> bytes:
    return struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload


def ip4(
    body: bytes,
    protocol: int,
    *,
    source: bytes = BOB4,
    destination: bytes = ALICE4,
    identification: int = 7,
    fragment: int = 0x4000,
    options: bytes = b"",
) -> bytes:
    size = 20 + len(options)
    fields = (0x40 | size // 4, 0, size + len(body), identification, fragment, 64, protocol)
    blank = struct.pack("!BBHHHBBH", *fields, 0) + source + destination + options
    return struct.pack("!BBHHHBBH", *fields, ~rfc1071(blank) & 0xFFFF) + source + destination + options + body


def ip6(body: bytes, protocol: int, *, source: bytes = BOB6, destination: bytes = ALICE6, hops: int = 64) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(body), protocol, hops) + source + destination + body


def ethernet(packet: bytes, *, source: bytes = BOB_MAC, destination: bytes = ALICE_MAC, ethertype: int = 0) -> bytes:
    ethertype = ethertype or (0x0800 if packet[0] >> 4 == 4 else 0x86DD)
    return destination + source + ethertype.to_bytes(2, "big") + packet


def with_partial_checksum(frame: bytes) -> bytes:
    """The pseudo-header's sum in the checksum field, as a kernel leaves it to hardware."""
    _, transport, protocol, addresses = _layout(frame)
    length = len(frame) - transport
    value = rfc1071(pseudo(addresses[: len(addresses) // 2], addresses[len(addresses) // 2 :], protocol, length))
    field = transport + (16 if protocol == TCP else 6)
    return frame[:field] + value.to_bytes(2, "big") + frame[field + 2 :]


def has_right_checksums(frame: bytes) -> bool:
    network, transport, protocol, addresses = _layout(frame)
    half = len(addresses) // 2
    body = frame[transport:]
    ip_is_right = frame[14] >> 4 == 6 or rfc1071(frame[network:transport]) == 0xFFFF
    return ip_is_right and rfc1071(pseudo(addresses[:half], addresses[half:], protocol, len(body)) + body) == 0xFFFF


def _layout(frame: bytes) -> tuple[int, int, int, bytes]:
    if frame[14] >> 4 == 4:
        return 14, 14 + (frame[14] & 15) * 4, frame[23], frame[26:34]
    return 14, 54, frame[20], frame[22:54]
