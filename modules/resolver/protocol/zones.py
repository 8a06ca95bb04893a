"""The names that are ours to answer: one domain for the members' host names, and the reverse names of their addresses.

`bob.ipop` stands for the member bob, and `20.10.168.192.in-addr.arpa` (RFC 1035 section 3.5; `ip6.arpa`, RFC 3596
section 2.5) for the member whose address that is, if it lies in a network of the card. Everything else is somebody
else's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

import dns.exception
import dns.name
import dns.rcode
import dns.reversename

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
MOST_ZONES: Final = 16
"""For a network whose prefix ends within a label; one with more is not asked for its own addresses' names."""


@dataclass(frozen=True)
class Place:
    """Where a name stands among ours."""

    zone: dns.name.Name
    code: dns.rcode.Rcode
    """What is answered where there is nobody to look up."""
    host: str | None = None
    """The member's name that is asked for."""
    address: Address | None = None
    """The member's address whose name is asked for."""


class Zones:
    def __init__(self, domain: str, networks: Iterable[Network] = ()) -> None:
        self.domain: Final = dns.name.from_text(domain)
        self._networks: Final = tuple(networks)
        self.reverse: Final = tuple(
            dict.fromkeys(zone for network in self._networks for zone in reverse_zones(network))
        )

    def holds(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def find(self, name: dns.name.Name) -> Place | None:
        """None: the name is not ours."""
        if name.is_subdomain(self.domain):
            return self._forward(name)
        zone = next((zone for zone in self.reverse if name.is_subdomain(zone)), None)
        try:
            address = ip_address(dns.reversename.to_address(name))
        except (dns.exception.DNSException, ValueError):
            address = None
        if address is not None and self.holds(address):
            return Place(zone or name, dns.rcode.SERVFAIL, address=address)
        if zone is None:
            return None
        # What is shorter than an address has names below it, so that it is there, too (RFC 8020).
        there = len(name.labels) < len(dns.reversename.from_address(str(self._first_in(zone))).labels)
        return Place(zone, dns.rcode.NOERROR if there else dns.rcode.NXDOMAIN)

    def _forward(self, name: dns.name.Name) -> Place:
        labels = name.relativize(self.domain).labels
        if not labels:
            return Place(self.domain, dns.rcode.NOERROR)
        if len(labels) > 1 or not labels[0].isascii():
            return Place(self.domain, dns.rcode.NXDOMAIN)
        return Place(self.domain, dns.rcode.SERVFAIL, host=labels[0].decode("ascii"))

    def _first_in(self, zone: dns.name.Name) -> Address:
        return next(network[0] for network in self._networks if zone in reverse_zones(network))


def reverse_zones(network: Network) -> Iterator[dns.name.Name]:
    """Zones that together hold the network's reverse names and no others; none where they would be too many."""
    bits = 8 if network.version == 4 else 4
    whole = -(-network.prefixlen // bits)  # labels that the prefix needs
    if whole == 0 or 1 << (whole * bits - network.prefixlen) > MOST_ZONES:
        return
    left_over = network.max_prefixlen // bits - whole
    for part in network.subnets(new_prefix=whole * bits):
        yield dns.name.Name(dns.reversename.from_address(str(part[0])).labels[left_over:])
