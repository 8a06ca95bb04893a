"""Paths that lose datagrams."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ipop_core.lab.host import Host

_SIOCETHTOOL: Final = 0x8946
_OFFLOADS: Final = (0x17, 0x1F, 0x24, 0x2C, 0x19)
"""ETHTOOL_STXCSUM, _STSO, _SGSO, _SGRO and _SSG of <linux/ethtool.h>."""


@contextmanager
def losing(sender: Host, receiver: Host, percent: int) -> Iterator[None]:
    """So many of the UDP datagrams that come to the receiver are dropped at random, while this lasts.

    The sender's card sends what a wire would carry from now on: what it gave its neighbour whole was lost whole.
    """
    sender.namespace.call(lambda: without_offloads(sender.interface))
    rule = f"meta l4proto udp numgen random mod 100 < {percent} drop"
    rules = f"table inet losing {{ chain input {{ type filter hook input priority -300\n{rule}\n}}\n}}"
    receiver.run(["nft", "-f", "-"], stdin=rules)
    try:
        yield
    finally:
        receiver.run(["nft", "delete", "table", "inet", "losing"])


def without_offloads(interface: str) -> None:
    """Make a card of this namespace send frames of its MTU, with their checksums."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in _OFFLOADS:
            value = array.array("I", (command, 0))
            fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), value.buffer_info()[0]))
