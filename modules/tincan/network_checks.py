"""The networks that this machine is on, beside the virtual one: clashes of ranges, and how large a packet may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from ipop_core.contract import Finding

from .card.settings import CardSettings
from .link.protocol.wire import INIT_SIZE

Network = IPv4Network | IPv6Network
LEAST_MTU: Final = INIT_SIZE + 48
"""A handshake's first datagram with the headers of UDP and IPv6."""
_MAIN_TABLE: Final = 254
_UNICAST: Final = 1


@dataclass(frozen=True)
class Route:
    """One of this machine's own, of its main table."""

    network: Network
    interface: str
    mtu: int
    """Of the interface, in bytes."""


def examine_networks(settings: CardSettings) -> list[Finding]:
    routes = [route for route in own_routes() if route.interface != settings.card]
    chosen = [] if settings.network is None else [settings.network]
    virtual = [] if settings.card is None else [*chosen, *(interface.network for interface in settings.interfaces)]
    return [*judge_ranges(virtual, routes), *judge_mtu(routes)]


def judge_ranges(virtual: Iterable[Network], routes: Iterable[Route]) -> Iterator[Finding]:
    """A route to a part of the virtual range, or to all of it, takes packets that are meant for the card."""
    known = [route for route in routes if route.network.prefixlen]
    for network in virtual:
        check = f"range {network}"
        clash = next((route for route in known if _is_within(route.network, network)), None)
        if clash is None:
            yield Finding(check=check, verdict="good", found="no other network here has it")
            continue
        found = f"clashes with {clash.network} on {clash.interface}"
        mend = f"take another range for the whole namespace, such as {_another(network)}: modules.tincan.address"
        yield Finding(check=check, verdict="bad", found=found, mend=mend)


def judge_mtu(routes: Iterable[Route]) -> Iterator[Finding]:
    """Of the interfaces by which the machine reaches the world."""
    ways = {route.interface: route.mtu for route in routes if not route.network.prefixlen}
    if not ways:
        mend = "ip route show default: connect this machine to a network"
        yield Finding(check="MTU", verdict="warning", found="there is no default route", mend=mend)
    for interface, mtu in ways.items():
        found = f"{mtu} bytes on {interface}"
        if mtu < LEAST_MTU:
            found += f", and handshakes need {LEAST_MTU}"
            yield Finding(check="MTU", verdict="bad", found=found, mend=f"ip link set {interface} mtu 1500")
        else:
            yield Finding(check="MTU", verdict="good", found=found)


def own_routes() -> list[Route]:
    """Unicast routes of the main table whose interface is known."""
    from pyroute2 import IPRoute  # noqa: PLC0415 - a quarter of a second to import

    with IPRoute() as netlink:
        links = {link["index"]: link for link in netlink.get_links()}
        messages: list[Any] = [*netlink.get_routes(family=2), *netlink.get_routes(family=10)]
    found = []
    for message in messages:
        link = links.get(message.get_attr("RTA_OIF"))
        if link is None or message["type"] != _UNICAST or message.get_attr("RTA_TABLE") != _MAIN_TABLE:
            continue
        anywhere = "0.0.0.0" if message["family"] == 2 else "::"
        network = ip_network(f"{message.get_attr('RTA_DST') or anywhere}/{message['dst_len']}")
        found.append(Route(network, link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_MTU")))
    return found


def _is_within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # of one version


def _another(network: Network) -> str:
    """An address in a private range (RFC 1918, RFC 4193) that few use."""
    if network.version == 6:
        return "fd69:706f:7000::1/64"
    return "10.213.77.1/24" if not network.overlaps(IPv4Network("10.213.77.0/24")) else "172.29.213.1/24"
