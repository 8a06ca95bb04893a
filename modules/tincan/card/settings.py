"""The card's settings, parsed once from the configuration's section (`schema.json`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface, ip_network
from typing import Any

from .errors import CardError

Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network
AUTOMATIC = "auto"


@dataclass(frozen=True)
class CardSettings:
    """`card` is None for a bare node, which has no card; the addresses are then ignored."""

    interfaces: tuple[Interface, ...] = ()
    """Empty where the directory chooses the address."""
    network: Network | None = None
    """Where the directory is to choose the address."""
    card: str | None = "tapipop"
    card_type: str = "tap"
    mtu: int = 1500

    @classmethod
    def parse(cls, section: Mapping[str, Any]) -> CardSettings:
        """From a section that its schema has accepted. Raises CardError for an address that is none."""
        written = section.get("address", [])
        addresses = [written] if isinstance(written, str) else list(written)
        card = section.get("card", cls.card)
        if card is not None and not addresses:
            raise CardError('address: missing; expected an address such as "192.168.10.10/24", or "card": null')
        is_automatic = written == AUTOMATIC
        return cls(
            interfaces=() if is_automatic else tuple(_interface(address) for address in addresses),
            network=_network(section.get("network", "")) if is_automatic else None,
            card=card,
            card_type=section.get("card_type", cls.card_type),
            mtu=section.get("mtu", cls.mtu),
        )


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise CardError(f'network: "{text}" is not a network such as 192.168.10.0/24') from error


def _interface(text: str) -> Interface:
    try:
        interface = ip_interface(text)
    except ValueError as error:
        raise CardError(f'address: "{text}" is not an address with a prefix length such as 192.168.10.10/24') from error
    ip = interface.ip
    if "/" not in text or ip.is_unspecified or ip.is_multicast or ip.is_loopback or ip.is_link_local:
        raise CardError(f'address: "{text}" is not a host address with a prefix length such as 192.168.10.10/24')
    network = interface.network
    is_edge = network.num_addresses > 2 and ip in (network.network_address, network.broadcast_address)
    if ip.version == 4 and is_edge:
        raise CardError(f'address: "{text}" is the network or broadcast address of {network}, not a host in it')
    return interface
