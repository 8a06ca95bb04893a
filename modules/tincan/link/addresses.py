"""This machine's own IP addresses: where peers on the same network, or anybody on a public one, can reach it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

_OVERLAY_KINDS: Final = frozenset({"tun", "wireguard", "vxlan", "geneve", "gre", "ipip", "sit"})
"""Interfaces of other tunnels: a link through another overlay is no direct link."""


def own_addresses() -> list[IPv4Address | IPv6Address]:
    """Addresses of the interfaces that are up; loopback only where there is nothing else."""
    from pyroute2 import IPRoute  # noqa: PLC0415 - a quarter of a second to import

    with IPRoute() as netlink:
        skipped = {link["index"] for link in netlink.get_links() if _is_overlay(link)}
        found = [
            ip_address(text)
            for message in netlink.get_addr()
            if message["index"] not in skipped and (text := message.get_attr("IFA_ADDRESS"))
        ]
    usable = [ip for ip in found if not (ip.is_loopback or ip.is_link_local or ip.is_multicast)]
    return usable or [ip for ip in found if ip.is_loopback and ip.version == 4]


def _is_overlay(link: Any) -> bool:
    info = link.get_attr("IFLA_LINKINFO")
    return info is not None and info.get_attr("IFLA_INFO_KIND") in _OVERLAY_KINDS
