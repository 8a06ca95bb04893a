"""The card that is protected, and what is named after it: several networks may run on one machine."""

import errno
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_interface
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipop_core.errors import ConfigError

Address = IPv4Address | IPv6Address
LONGEST = 12
"""Characters; the kernel's limit for a name is 15."""
OVERHEAD = 80
"""Bytes that WireGuard adds to a packet: its own header and tag, UDP, and IPv6."""


@dataclass(frozen=True)
class Card:
    name: str
    index: int
    mtu: int
    interfaces: tuple[IPv4Interface | IPv6Interface, ...]

    @property
    def tunnel(self) -> str:
        """WireGuard's interface."""
        return f"wg-{self.name}"

    @property
    def waiting(self) -> str:
        """The interface that packets go to while their peer's key is asked for."""
        return f"wq-{self.name}"

    @property
    def inner_mtu(self) -> int:
        return self.mtu - OVERHEAD

    @property
    def mark(self) -> int:
        """Marks WireGuard's own packets, and is the number of the routing table for all others."""
        return zlib.crc32(self.name.encode()) & 0x3FFFFFFF | 0x40000000

    def may_belong_to_peer(self, address: Address) -> bool:
        return any(address in own.network and address != own.ip for own in self.interfaces)


def read_card(body: Mapping[str, Any] | None) -> Card:
    """`body` is what the role link says of its card. Blocking. Raises ConfigError where it can't be protected."""
    place = "modules.wireguard"
    if body is None:
        raise ConfigError(place, "this node has no virtual card to protect; give modules.tincan an address")
    name = str(body["name"])
    if len(name) > LONGEST:
        raise ConfigError(place, f"the card's name {name} has more than {LONGEST} characters; give it a shorter one")
    with IPRoute() as route:
        found = route.link_lookup(ifname=name)
        if not found:
            raise ConfigError(
                place, f"the kernel has no card {name}, so it can't protect it (is it one in user space?)"
            )
        (link,) = route.get_links(found[0])
        mtu = link.get_attr("IFLA_MTU")
    return Card(name, found[0], mtu, tuple(ip_interface(text) for text in body["addresses"]))


def put_down(card: Card) -> bool:
    """Let nothing pass the card until the role link brings it up again; whether that was done. Blocking."""
    with IPRoute() as route:
        try:
            route.link("set", index=card.index, state="down")
        except NetlinkError as error:
            return bool(error.code == errno.ENODEV)
    return True
