"""The Internet's checksum (RFC 1071) over bytes, and the pseudo-headers of IPv4 and IPv6 (RFC 9293, RFC 8200)."""

from __future__ import annotations

from struct import Struct
from typing import Final

_PSEUDO4: Final = Struct("!8sxBH")
_PSEUDO6: Final = Struct("!32sI3xB")


def total(data: bytes | bytearray | memoryview) -> int:
    """The ones' complement sum of 16-bit words, 0 to 0xFFFF; an odd last byte is padded with zero.

    Modulo 0xFFFF is the ones' complement sum, but for its two zeros: 0 comes from zeros alone.
    """
    value = int.from_bytes(data, "big")
    if len(data) & 1:
        value <<= 8
    return value % 0xFFFF or (0xFFFF if value else 0)


def finish(*totals: int) -> int:
    """The checksum field for the sum of these totals."""
    value = sum(totals)
    return ~(value % 0xFFFF or (0xFFFF if value else 0)) & 0xFFFF


def pseudo_header(addresses: bytes, protocol: int, length: int) -> int:
    """The total of a pseudo-header; `addresses` is source and destination, 8 bytes for IPv4 and 32 for IPv6."""
    if len(addresses) == 8:
        return total(_PSEUDO4.pack(addresses, protocol, length))
    return total(_PSEUDO6.pack(addresses, length, protocol))
