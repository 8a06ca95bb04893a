"""The kernel's side of a card: hardware address, MTU, queue, addresses, up; all by netlink (pyroute2)."""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv6Interface, ip_address, ip_interface
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from .errors import CardError
from .protocol import ethernet, ndp
from .settings import Interface

_QUEUE: Final = 1000
"""Packets that wait in the kernel for the card, as many as for other cards of that kind: 500 small ones are full after
4 ms at 120,000 a second, and so long a kernel with 250 ticks a second may keep this process from its turn. The longer
the queue, the longer a ping waits behind a flow when this machine's own link is the narrow one."""
_SUPER_FRAME: Final = 62_000
"""Bytes of a super-frame that, sealed and cut, still fit one UDP send of at most 65,507."""
_ONE_DATAGRAM: Final = 1380
"""Bytes of a packet that, sealed, fits one datagram on a wire of 1,492 bytes over IPv6 (63 bytes of ours around it)."""
_TCP_HEADERS: Final = {socket.AF_INET: 40, socket.AF_INET6: 60}
_LARGEST_CLAMPED: Final = 1500
_EUI64: Final = 0
"""in6_addr_gen_mode: link-local addresses follow the hardware address."""
_BY_THE_KERNEL: Final = 2
"""RTPROT_KERNEL: the routes that come with addresses."""
_UNICAST: Final = 1
_MAIN: Final = 254
"""The table that they are in."""
_NO_DUPLICATE_DETECTION: Final = 0x02
"""IFA_F_NODAD: usable at once. The directory, not the link, decides who owns an address."""
_SYSCTL: Final = {"accept_ra": "0", "accept_dad": "0", "router_solicitations": "0"}


def configure(name: str, mac: bytes, mtu: int) -> None:
    """Set up the card's link; what is right already is not touched. Raises CardError.

    A card that is down stays down: `bring_up` is for when there is somebody to talk to.
    """
    try:
        with IPRoute() as route:
            index = _index(route, name)
            _set_link(route, index, mac, mtu)
            _quieten(name)
    except NetlinkError as error:
        raise CardError(f'card "{name}" cannot be set up: {_explain(error)}') from error


def bring_up(name: str, mac: bytes, interfaces: Iterable[Interface]) -> None:
    """Let the kernel use the card, with exactly these addresses. Raises CardError."""
    try:
        with IPRoute() as route:
            index = _index(route, name)
            route.link("set", index=index, state="up")
            _set_addresses(route, index, mac, set(interfaces))
            _advise_segments(route, index)
    except NetlinkError as error:
        raise CardError(f'card "{name}" cannot be brought up: {_explain(error)}') from error


def set_patience(name: str, seconds: int) -> None:
    """How long the kernel asks for an unknown neighbour, and holds its packets, before it gives up (IPv4 and IPv6)."""
    for family in ("ipv4", "ipv6"):
        with suppress(OSError):
            Path(f"/proc/sys/net/{family}/neigh/{name}/mcast_solicit").write_text(str(seconds), encoding="ascii")


def remove(name: str) -> bool:
    """Remove the card, with its addresses and routes. False when there was none. Raises CardError."""
    try:
        with IPRoute() as route:
            found = route.link_lookup(ifname=name)
            if found:
                route.link("del", index=found[0])
            return bool(found)
    except NetlinkError as error:
        raise CardError(f'card "{name}" cannot be removed: {_explain(error)}') from error


def _explain(error: NetlinkError) -> str:
    if error.code == errno.EPERM:
        return "no permission; run as root, or with CAP_NET_ADMIN"
    if error.code in (errno.EACCES, errno.EOPNOTSUPP):
        return "IPv6 is switched off here; set net.ipv6.conf.default.disable_ipv6 to 0, or leave IPv6 addresses out"
    return os.strerror(error.code)


def _index(route: Any, name: str) -> int:
    found = route.link_lookup(ifname=name)
    if not found:
        raise CardError(f'card "{name}" has gone')
    return int(found[0])


def _set_link(route: Any, index: int, mac: bytes, mtu: int) -> None:
    """The link's own settings. A new hardware address needs the link down once, so that link-local addresses follow."""
    (link,) = route.get_links(index)
    if link.get_attr("IFLA_ADDRESS") != ethernet.format_mac(mac):
        route.link("set", index=index, state="down")
        route.link("set", index=index, address=ethernet.format_mac(mac))
    route.link("set", index=index, mtu=mtu, txqlen=_QUEUE)
    with suppress(NetlinkError):
        route.link("set", index=index, gso_max_size=_SUPER_FRAME)
    generation = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _EUI64)]})]}
    with suppress(NetlinkError):
        route.link("set", index=index, IFLA_AF_SPEC=generation)


def _set_addresses(route: Any, index: int, mac: bytes, wanted: set[Interface]) -> None:
    link_local = IPv6Interface((ndp.link_local_of(mac), 64))
    present = set()
    for message in route.get_addr(index=index):
        text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        interface = ip_interface(f"{text}/{message['prefixlen']}")
        present.add(interface)
        if interface not in wanted and interface != link_local:
            route.addr("del", index=index, address=str(interface.ip), prefixlen=message["prefixlen"])
    for interface in wanted - present:
        flags = {"flags": _NO_DUPLICATE_DETECTION} if interface.version == 6 else {}
        route.addr("add", index=index, address=str(interface.ip), prefixlen=interface.network.prefixlen, **flags)


def _advise_segments(route: Any, index: int) -> None:
    """Tell TCP's other ends to send segments that fit one datagram each: where one is lost, one is sent again.

    With the card's whole MTU it would be two datagrams for each, and twice the loss. Large frames hold many segments,
    so that costs no throughput. A card with a larger MTU is left alone: its packets take many datagrams as they come.
    """
    (link,) = route.get_links(index)
    if not _ONE_DATAGRAM < link.get_attr("IFLA_MTU") <= _LARGEST_CLAMPED:
        return
    for family, headers in _TCP_HEADERS.items():
        routes = [one for one in route.get_routes(family=family, table=_MAIN) if one["family"] == family]
        places = Counter(map(_place, routes))
        for message in routes:
            is_own = message.get_attr("RTA_OIF") == index and message["proto"] == _BY_THE_KERNEL
            # The kernel replaces whatever route has the place, another card's, too: every card has one to fe80::/64.
            if not is_own or message["type"] != _UNICAST or places[_place(message)] > 1 or _is_link_local(message):
                continue
            kept = {"prefsrc": message.get_attr("RTA_PREFSRC"), "priority": message.get_attr("RTA_PRIORITY")}
            with suppress(NetlinkError):
                route.route(
                    "replace",
                    family=family,
                    dst=f"{message.get_attr('RTA_DST')}/{message['dst_len']}",
                    oif=index,
                    proto=_BY_THE_KERNEL,
                    scope=message["scope"],
                    table=_MAIN,
                    metrics={"advmss": _ONE_DATAGRAM - headers},
                    **{name: value for name, value in kept.items() if value is not None},
                )


def _place(message: Any) -> tuple[str | None, int, int]:
    """What a route can have only once in a table: target and metric."""
    return message.get_attr("RTA_DST"), message["dst_len"], message.get_attr("RTA_PRIORITY") or 0


def _is_link_local(message: Any) -> bool:
    return ip_address(message.get_attr("RTA_DST") or "::").is_link_local


def _quieten(name: str) -> None:
    """No router is on this link and nobody answers duplicate-address probes. A read-only /proc does no harm."""
    for key, value in _SYSCTL.items():
        with suppress(OSError):
            Path(f"/proc/sys/net/ipv6/conf/{name}/{key}").write_text(value)
