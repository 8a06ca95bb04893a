"""A segment: one Ethernet that hosts join, a bridge in a namespace."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import count

from ipop_core.lab.errors import LabError
from ipop_core.lab.namespace import Namespace


@dataclass(frozen=True)
class Attachment:
    """Where a namespace joined a segment.

    To put something in between (a router that delays, say), take `port` off the segment's bridge and carry its frames.
    """

    interface: str
    """The card's name inside the namespace that joined."""
    port: str
    """The other end of the same veth pair, a port of the segment's bridge."""
    address: str
    address6: str | None


class Segment:
    """A bridge and the networks on it; the first address of each is kept for a gateway, hosts follow in order."""

    def __init__(
        self,
        namespace: Namespace,
        bridge: str,
        network: IPv4Network,
        network6: IPv6Network | None = None,
        *,
        has_gateway: bool = False,
    ) -> None:
        self.namespace = namespace
        self.bridge = bridge
        self.network = network
        self.network6 = network6
        self.gateway = str(network[1]) if has_gateway else None
        """The bridge's own address, the hosts' default route; None on a segment that leads nowhere else."""
        self._numbers = count(2)

    def build(self) -> None:
        """Make the bridge in its namespace. Raises LabError."""
        lines = [
            # With an address of its own: it would take its ports' lowest, and change it whenever one comes or goes.
            f"link add name {self.bridge} address {_link_address()} type bridge"
            " stp_state 0 forward_delay 0 mcast_snooping 0",
            f"link set {self.bridge} up",
        ]
        if self.gateway:
            lines.insert(1, f"address add {self.gateway}/{self.network.prefixlen} dev {self.bridge}")
        self.namespace.ip(*lines)

    def attach(self, name: str, namespace: Namespace, interface: str) -> Attachment:
        """Join `namespace` by a veth pair and give it the next free address. Raises LabError when none is left."""
        number = next(self._numbers)
        if number >= self.network.num_addresses - 1:
            raise LabError(f"no address left in {self.network} for {name}")
        port = f"{number}-{name}"[:15]
        address: IPv4Address = self.network[number]
        address6: IPv6Address | None = self.network6[number] if self.network6 else None
        self.namespace.ip(f"link add name {port} type veth peer name {interface} netns {namespace.name}")
        lines = [f"address add {address}/{self.network.prefixlen} dev {interface}", f"link set {interface} up"]
        if address6 and self.network6:
            lines.append(f"address add {address6}/{self.network6.prefixlen} dev {interface} nodad")
        if self.gateway:
            lines.append(f"route add default via {self.gateway}")
        namespace.ip(*lines)
        self.namespace.ip(f"link set {port} master {self.bridge} up")
        # The kernel finishes a link in the background. An ARP request that is dropped meanwhile costs a second.
        for end, card in ((self.namespace, port), (namespace, interface), (self.namespace, self.bridge)):
            end.wait_until_running(card)
        return Attachment(interface, port, str(address), str(address6) if address6 else None)


def _link_address() -> str:
    """A random one that no manufacturer gives out (IEEE 802, section 8.2)."""
    return bytes([0x02, *secrets.token_bytes(5)]).hex(":")
