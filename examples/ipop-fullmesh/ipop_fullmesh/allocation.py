"""Which address of a network a node tries next when it takes any that is free.

It begins where its id says, so that nodes which come at the same time seldom want the same one, and goes on to the next
above. The address that it had before comes first.
"""

from ipaddress import IPv4Network, IPv6Network

MOST = 1024
"""Tries until the network counts as full."""


class Allocation:
    def __init__(self, network: IPv4Network | IPv6Network, node: bytes, wanted: bytes | None, now: float) -> None:
        """`wanted`: 4 or 16 bytes; one outside the network is passed over."""
        has_edges = network.num_addresses > 2
        self.network = network
        self._first = int(network.network_address) + has_edges
        self._count = network.num_addresses - has_edges - (has_edges and network.version == 4)
        self._size = network.max_prefixlen // 8
        self._start = int.from_bytes(node, "big")
        self._tried = 0
        number = int.from_bytes(wanted or b"", "big") - self._first
        fits = wanted is not None and len(wanted) == self._size and 0 <= number < self._count
        self._wanted = wanted if fits else None
        self.address: bytes | None = self._wanted
        """The one that is tried; None when enough were."""
        self.since = now
        """When it was chosen."""
        self.is_settled = False
        """It is this node's."""
        if self.address is None:
            self.next(now)

    def next(self, now: float) -> None:
        """Somebody else has that address."""
        before, self.address, self.since, self.is_settled = self.address, None, now, False
        while self._tried < min(self._count, MOST) and self.address in (None, before, self._wanted):
            at = (self._start + self._tried) % self._count
            self._tried += 1
            self.address = (self._first + at).to_bytes(self._size, "big")
        if self.address in (before, self._wanted):
            self.address = None
