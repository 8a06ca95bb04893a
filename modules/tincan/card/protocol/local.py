"""What kind of frame the local kernel sent, told from a few bytes."""

from __future__ import annotations

from typing import Final

from . import ethernet, ndp
from .packet import ICMPV6

UNICAST: Final = 0
"""IPv4 or IPv6 for one hardware address: send it to that node. Zero, so that the common case tests false."""
QUESTION: Final = 1
"""ARP or neighbour discovery: for `Neighbours`, never for the network."""
GROUP: Final = 2
"""IP multicast or broadcast."""
OTHER: Final = 3
"""Too short, or neither IP nor ARP."""

_UPPER_AT: Final = ethernet.HEADER_SIZE + 40


def classify(buffer: memoryview, at: int, end: int) -> int:
    """The kind of the frame that lies in `buffer` from `at` to `end`."""
    if end - at < ethernet.HEADER_SIZE:
        return OTHER
    high, low = buffer[at + 12], buffer[at + 13]
    if high == 0x08 and low == 0x00:
        return GROUP if buffer[at] & 1 else UNICAST
    if high == 0x86 and low == 0xDD:
        if end - at > _UPPER_AT and buffer[at + 20] == ICMPV6 and buffer[at + _UPPER_AT] in ndp.TYPES:
            return QUESTION
        return GROUP if buffer[at] & 1 else UNICAST
    return QUESTION if high == 0x08 and low == 0x06 else OTHER
