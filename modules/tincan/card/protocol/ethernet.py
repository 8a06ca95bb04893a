"""Ethernet frames: sizes, ether types and the address that a node's card wears (IEEE 802, RFC 7042)."""

from __future__ import annotations

from struct import Struct
from typing import Final

from ipop_modules.tincan.frames import MAX_FRAME

HEADER: Final = Struct("!6s6sH")
"""Destination, source, ether type."""
HEADER_SIZE: Final = HEADER.size
MAC_SIZE: Final = 6
NODE_SIZE: Final = 20

IPV4: Final = 0x0800
ARP: Final = 0x0806
IPV6: Final = 0x86DD

BROADCAST: Final = b"\xff" * MAC_SIZE
GROUP_BIT: Final = 0x01
"""Set in the first byte of a multicast or broadcast address."""
LOCAL_BIT: Final = 0x02
"""Set in the first byte of a locally administered address (RFC 7042, section 2.1)."""

FRAME_SIZES: Final = range(HEADER_SIZE, MAX_FRAME + 1)


def mac_of(node: bytes) -> bytes:
    """The card's address of a node: locally administered, unicast, 46 bits of the node's id.

    Raises ValueError when `node` is not an id of 20 bytes.
    """
    if len(node) != NODE_SIZE:
        raise ValueError(f"a node id has {NODE_SIZE} bytes, not {len(node)}")
    return bytes([node[0] & ~GROUP_BIT | LOCAL_BIT]) + node[1:MAC_SIZE]


def format_mac(mac: bytes) -> str:
    return mac.hex(":")
