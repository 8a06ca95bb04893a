"""Which address of a network a node tries next when it takes any that is free.

The order is a walk through all host addresses that begins and steps as the node's id says, so that nodes which come at
the same time seldom want the same one; the address that the node had before comes first.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from math import gcd
from typing import Final

MAX_TRIES: Final = 1024
"""Until the network counts as full: all addresses of a /22."""


class Allocation:
    def __init__(self, network: IPv4Network | IPv6Network, node: bytes, wanted: bytes | None) -> None:
        """`wanted`: the address that the node had before, 4 or 16 bytes; one outside the network is passed over."""
        has_edges = network.num_addresses > 2
        self.network: Final = network
        self._first = int(network.network_address) + has_edges
        self._count = network.num_addresses - has_edges - (has_edges and network.version == 4)
        seed = int.from_bytes(node, "big")
        self._at = seed % self._count
        self._step = (seed >> 64) % self._count or 1
        while gcd(self._step, self._count) != 1:
            self._step += 1
        self._left = min(self._count, MAX_TRIES)
        self._size = network.max_prefixlen // 8
        number = int.from_bytes(wanted or b"", "big") - self._first
        fits = wanted is not None and len(wanted) == self._size and 0 <= number < self._count
        self._wanted = wanted if fits else None
        self.address: bytes | None = self._wanted or self._walk()

    def next(self) -> bytes | None:
        """The one to try after `address` turned out to be taken; None when enough were tried."""
        self.address = self._walk()
        if self.address is not None and self.address == self._wanted:
            self.address = self._walk()
        return self.address

    def _walk(self) -> bytes | None:
        if not self._left:
            return None
        self._left -= 1
        self._at = (self._at + self._step) % self._count
        return (self._first + self._at).to_bytes(self._size, "big")
