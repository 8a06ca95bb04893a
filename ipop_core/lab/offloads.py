"""What a card does in the place of the system: cut, join and sum."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from typing import Final

_SIOCETHTOOL: Final = 0x8946
_OFFLOADS: Final = (0x17, 0x1F, 0x24, 0x2C, 0x19)
"""ETHTOOL_STXCSUM, _STSO, _SGSO, _SGRO and _SSG of <linux/ethtool.h>."""


def without_offloads(interface: str) -> None:
    """Make a card of this namespace send frames of its MTU, with their checksums."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in _OFFLOADS:
            value = array.array("I", (command, 0))
            fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), value.buffer_info()[0]))
