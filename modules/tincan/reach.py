"""Where this node can be reached: its own addresses, the ones that peers see, and the kind of NAT in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import zip_longest
from math import inf
from typing import Final, Protocol

from ipop_core.bus.api import JsonObject

from .link.protocol.events import Endpoint
from .link.protocol.mapping import NEXT, Address, Mapping, Nat, Observations
from .link.protocol.portmap import Mapped
from .link.protocol.searching import Part, Search
from .link.surroundings import Surroundings, look
from .link.udp import read_endpoint, show_endpoint

MAX_CANDIDATES: Final = 16
MAX_OWN: Final = 7
MAX_SEEN: Final = 3
"""Of one family: beside the outer address, peers that see another one are few where it is worth a try."""
MAX_TOLD: Final = 256
IPV4: Final = 4
IPV6: Final = 16

LOOK_AGAIN: Final = 5.0
"""Seconds for which what was seen holds, unless the kernel tells of a change (`link/watching.py`)."""


class Socket(Protocol):
    """What is asked of the node's UDP socket (`link/udp.py`), or of a simulated one."""

    @property
    def port(self) -> int: ...

    @property
    def endpoint_length(self) -> int: ...

    def address(self, endpoint: Endpoint) -> Address: ...

    def endpoint(self, ip: IPv4Address | IPv6Address, port: int) -> Endpoint | None: ...


class Reach:
    """`clock` gives seconds on a clock that counts suspend, `mapped` the port mapping that the router made."""

    def __init__(self, udp: Socket, clock: Callable[[], float], mapped: Callable[[], Mapped | None]) -> None:
        self._udp: Final = udp
        self._clock: Final = clock
        self._mapped: Final = mapped
        self.surroundings = Surroundings()
        self.observations: Final = Observations()
        self._looked = -inf
        self.told: Final[dict[bytes, JsonObject]] = {}
        """What peers said of their NATs."""

    @property
    def own(self) -> list[str]:
        """This machine's own addresses, with the node's port."""
        return [show_endpoint((ip.packed, self._udp.port)) for ip in self.surroundings.addresses]

    @property
    def routers(self) -> dict[bytes, bytes | None]:
        """The routers' addresses on the link, by their IP addresses."""
        return {router.ip.packed: router.link_address for router in self.surroundings.routers}

    @property
    def is_to_look(self) -> bool:
        """Whether what is known of the surroundings is old: a look costs more than an answer to a peer."""
        return self._clock() >= self._looked + LOOK_AGAIN

    async def look_around(self) -> bool:
        """Learn this machine's surroundings again; whether it is elsewhere now."""
        found = await asyncio.to_thread(look)
        self._looked = self._clock()
        before = self.surroundings
        self.surroundings = found.after(before)
        return self.surroundings.elsewhere(before)

    def moved(self) -> None:
        """What peers saw where this machine was before holds no more."""
        self.observations.forget()

    def observed(self, endpoint: Endpoint, seen: Address) -> None:
        """The peer at `endpoint` sees this node at an address; by a further socket it says nothing of the first's."""
        if len(endpoint) == self._udp.endpoint_length:
            self.observations.add(self._udp.address(endpoint), seen, self._clock())

    def nat(self, size: int = IPV4) -> Nat:
        own = {ip.packed for ip in self.surroundings.addresses}
        return self.observations.nat(size, own, self._udp.port, self._clock())

    def seen(self) -> list[str]:
        """This node's addresses as peers see them, the most agreed on first."""
        return [show_endpoint(seen) for seen in self.observations.addresses(self._clock()) if _is_outside(seen)]

    def candidates(self, order: Sequence[int] = NEXT) -> list[str]:
        """UDP addresses at which this node may be reached: own ones, outer ones, and those that are foreseen.

        `order` as in `mapping.py`.

        The foreseen come first: each further address that the peer tries takes a port of the peer's own NAT, and where
        that counts up as well, the two sequences meet only if nothing comes in between.
        """
        nats = {size: self.nat(size) for size in (IPV4, IPV6)}
        found = [show_endpoint(address) for nat in nats.values() for address in nat.predicted(order)]
        mapped = self._mapped()
        if mapped is not None:
            found.append(show_endpoint((mapped.ip, mapped.port)))
        found += [show_endpoint((ip.packed, self._udp.port)) for ip in _of_both(self.surroundings.addresses)]
        for size, nat in nats.items():
            if nat.outer is not None and _is_outside(nat.outer):
                found.append(show_endpoint(nat.outer))
            if not nat.mapping.changes:
                found += [text for text in self.seen() if (":" in text.rpartition(":")[0]) == (size == IPV6)][:MAX_SEEN]
        return list(dict.fromkeys(found))[:MAX_CANDIDATES]

    def nat_body(self, searches: bool, able: bool = True) -> JsonObject:
        """What the other side of a rendezvous must know of this side's NAT: the `nat` of `schemas/messages/link.json`.

        Nothing, where this side never searches, or need not; `able`: it can now.
        """
        nat = self.nat() if searches and not self._is_let_in() else Nat()
        outer = nat.outer if nat.outer is not None and _is_outside(nat.outer) else None
        endpoint = None if outer is None else show_endpoint(outer)
        return {"mapping": nat.mapping.value, "endpoint": endpoint, "able": able}

    def endpoint(self, text: str) -> Endpoint | None:
        """The socket's own form of an address; None where it can't be reached from here. Raises ValueError."""
        return self._udp.endpoint(*_read(text))

    def outer_of(self, node: bytes) -> Endpoint | None:
        """The address of a peer's NAT, as it said last."""
        told = self.told.get(node)
        if told is None or told["endpoint"] is None:
            return None
        try:
            return self.endpoint(told["endpoint"])
        except ValueError:
            return None

    def search(self, node: bytes, theirs: JsonObject) -> Search | None:
        """This node's part in a search for the peer that says this of its NAT; None where there is nothing to find.

        Raises ValueError for an endpoint that is none.
        """
        self.told.pop(node, None)
        self.told[node] = theirs
        if len(self.told) > MAX_TOLD:
            self.told.pop(next(iter(self.told)))
        if theirs["endpoint"] is None or self._is_let_in():
            return None
        ours, other = self.nat().mapping, Mapping(theirs["mapping"])
        if ours.changes and other.predictable:
            part = Part.OPEN
        elif other.changes and ours.predictable:
            part = Part.GUESS
        else:
            return None
        ip, port = _read(theirs["endpoint"])
        endpoint = self._udp.endpoint(ip, port)
        return None if endpoint is None or ip.version != 4 else (part, endpoint)

    def _is_let_in(self) -> bool:
        """Whether the router's port mapping leads in from where peers are, so that nobody need search for this node.

        Behind one more NAT, a carrier's, it leads in from the network in between alone: peers see another address.
        """
        mapped = self._mapped()
        if mapped is None:
            return False
        outer = self.nat(len(mapped.ip)).outer
        return outer is None or outer[0] == mapped.ip


def _read(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    try:
        return read_endpoint(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an endpoint such as 1.2.3.4:4741: {error}") from error


def _of_both(addresses: Sequence[IPv4Address | IPv6Address]) -> list[IPv4Address | IPv6Address]:
    """MAX_OWN of them, of IPv4 and of IPv6 in turn: a machine with many of one has its others tried, too."""
    families = [[ip for ip in addresses if ip.version == version] for version in (4, 6)]
    in_turn = [ip for pair in zip_longest(*families) for ip in pair if ip is not None]
    return in_turn[:MAX_OWN]


def _is_outside(address: Address) -> bool:
    return not ip_address(address[0]).is_loopback
