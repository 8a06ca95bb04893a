"""Where this machine is: its own IP addresses, and the routers that it goes out by.

Peers on the same network, or anybody on a public one, reach it at its addresses. A router is known by its address on
the link, too: many homes give out the same IP addresses, and a computer that comes to another of them is elsewhere.
`reach.py` looks, at the start and whenever `watching.py` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

_OVERLAY_KINDS: Final = frozenset({"tun", "wireguard", "vxlan", "geneve", "gre", "ipip", "sit"})
"""Interfaces of other tunnels: a link through another overlay is no direct link."""
_FAMILIES: Final = (2, 10)
"""AF_INET and AF_INET6."""
_RUNNING: Final = 0x41
"""IFF_UP and IFF_RUNNING: switched on, and with a carrier."""
_NOT_YET: Final = 0x48
"""IFA_F_TENTATIVE and IFA_F_DADFAILED: not known to be this machine's alone (RFC 4862, section 5.4), and not usable."""


@dataclass(frozen=True, slots=True)
class Router:
    """The next hop of the default route with the least metric."""

    ip: IPv4Address | IPv6Address
    link_address: bytes | None
    """None while the kernel has not asked for it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    """Of the interfaces that are up; loopback only where there is nothing else."""
    routers: tuple[Router, ...] = ()
    """At most one for each family, IPv4 first."""

    @property
    def router(self) -> Router | None:
        """The one that IPv4 packets go by."""
        return next((router for router in self.routers if router.ip.version == 4), None)

    def after(self, before: Surroundings) -> Surroundings:
        """These, with what was known before of the same routers and is only forgotten by the kernel now."""
        known = {router.ip: router.link_address for router in before.routers}
        routers = (Router(router.ip, router.link_address or known.get(router.ip)) for router in self.routers)
        return Surroundings(self.addresses, tuple(routers))

    def elsewhere(self, before: Surroundings) -> bool:
        """Whether this is another place, and not only more known of the same."""
        if self.addresses != before.addresses or len(self.routers) != len(before.routers):
            return True
        return any(_differ(one, other) for one, other in zip(self.routers, before.routers, strict=True))


def look() -> Surroundings:
    """Ask the kernel. It takes milliseconds, and is not for an event loop."""
    from pyroute2 import IPRoute  # noqa: PLC0415 - a quarter of a second to import

    with IPRoute() as netlink:
        cards = {link["index"] for link in netlink.get_links() if _is_running(link) and not _is_overlay(link)}
        found = [
            ip_address(text)
            for message in netlink.get_addr()
            if message["index"] in cards and not _is_tentative(message) and (text := _own_end(message))
        ]
        routers = [router for family in _FAMILIES if (router := _router(netlink, family)) is not None]
    usable = [ip for ip in found if not (ip.is_loopback or ip.is_link_local or ip.is_multicast)]
    return Surroundings(
        tuple(usable or [ip for ip in found if ip.is_loopback and ip.version == 4]),
        tuple(routers),
    )


def _router(netlink: Any, family: int) -> Router | None:
    routes = [route for route in netlink.get_default_routes(family=family) if route.get_attr("RTA_GATEWAY")]
    if not routes:
        return None
    # The kernel takes a route without a metric first (IPv4: 0).
    best = min(routes, key=lambda route: route.get_attr("RTA_PRIORITY") or 0)
    ip, index = best.get_attr("RTA_GATEWAY"), best.get_attr("RTA_OIF")
    for neighbour in netlink.get_neighbours(family=family, ifindex=index):
        if neighbour.get_attr("NDA_DST") == ip and (text := neighbour.get_attr("NDA_LLADDR")):
            return Router(ip_address(ip), bytes.fromhex(text.replace(":", "")))
    return Router(ip_address(ip), None)


def _differ(router: Router, before: Router) -> bool:
    if router.ip != before.ip:
        return True
    addresses = (router.link_address, before.link_address)
    return None not in addresses and addresses[0] != addresses[1]


def _is_running(link: Any) -> bool:
    return bool(link["flags"] & _RUNNING == _RUNNING)


def _is_tentative(message: Any) -> bool:
    return bool((message.get_attr("IFA_FLAGS") or message["flags"]) & _NOT_YET)


def _own_end(message: Any) -> str | None:
    """Of a link from point to point, IFA_ADDRESS is the other end's."""
    text: str | None = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    return text


def _is_overlay(link: Any) -> bool:
    info = link.get_attr("IFLA_LINKINFO")
    return info is not None and info.get_attr("IFLA_INFO_KIND") in _OVERLAY_KINDS
