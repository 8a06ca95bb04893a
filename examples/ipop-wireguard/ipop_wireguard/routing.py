"""Which packets for virtual addresses go into WireGuard: all but its own, by a rule and a routing table.

User's packets and WireGuard's datagrams have the same destination, a peer's virtual address. WireGuard marks its own.
Every other packet is looked up in a table of ours first: known peers are behind WireGuard's interface, the rest of the
virtual network is where packets wait for a key. Where one of these interfaces has gone, so have its routes, and a
packet ends at the card, which lets nothing pass but WireGuard's.
"""

import errno
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipop_core.errors import IpopError
from ipop_wireguard.card import Address, Card

BEFORE_MAIN = 20_000
"""The rule's priority; that of the main table's is 32,766."""
INVERT = 2
"""FIB_RULE_INVERT: the rule is for packets without the mark."""
NO_DUPLICATE_DETECTION = 2
"""IFA_F_NODAD."""
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def begin(card: Card) -> None:
    """Give WireGuard's interface the card's addresses, and send the virtual network's packets our way.

    Blocking, and done again without harm. Raises IpopError.
    """
    with suppress(OSError):  # then what rp_filter drops is dropped
        Path(f"/proc/sys/net/ipv4/conf/{card.name}/src_valid_mark").write_text("1")
    with IPRoute() as route:
        tunnel, waiting = (_up(route, name, card.inner_mtu) for name in (card.tunnel, card.waiting))
        for own in card.interfaces:
            flags = {"flags": NO_DUPLICATE_DETECTION} if own.version == 6 else {}
            with _unless_there():
                route.addr("add", index=tunnel, address=str(own.ip), prefixlen=own.max_prefixlen, **flags)
            where = {"dst": str(own.network), "oif": waiting, "table": card.mark, "family": FAMILIES[own.version]}
            route.route("replace", prefsrc=str(own.ip), **where)
        for family in _families(card):
            with _unless_there():
                route.rule("add", **_rule(card, family))


def add(card: Card, addresses: Iterable[Address]) -> None:
    """From now on these are behind WireGuard. Blocking. Raises IpopError."""
    with IPRoute() as route:
        tunnel = _index(route, card.tunnel)
        for address in addresses:
            own = next(own for own in card.interfaces if address in own.network)
            where = {"dst": f"{address}/{address.max_prefixlen}", "oif": tunnel, "table": card.mark}
            route.route("replace", prefsrc=str(own.ip), family=FAMILIES[own.version], **where)


def end(card: Card) -> None:
    """Undo all of it. Blocking."""
    with IPRoute() as route:
        for family in _families(card):
            with suppress(NetlinkError):
                route.rule("del", **_rule(card, family))
            route.flush_routes(table=card.mark, family=family)


def remove(name: str) -> None:
    """Remove an interface, if it is there. Blocking."""
    with IPRoute() as route, suppress(NetlinkError):
        for index in route.link_lookup(ifname=name):
            route.link("del", index=index)


def _up(route: Any, name: str, mtu: int) -> int:
    index = _index(route, name)
    route.link("set", index=index, mtu=mtu, state="up")
    return index


def _index(route: Any, name: str) -> int:
    for index in route.link_lookup(ifname=name):
        return int(index)
    raise IpopError(f"the interface {name} has gone")


def _rule(card: Card, family: int) -> dict[str, Any]:
    rule = {"family": family, "priority": BEFORE_MAIN, "fwmark": card.mark, "table": card.mark, "flags": INVERT}
    return {**rule, "action": 1}


def _families(card: Card) -> set[int]:
    return {FAMILIES[own.version] for own in card.interfaces}


@contextmanager
def _unless_there() -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
