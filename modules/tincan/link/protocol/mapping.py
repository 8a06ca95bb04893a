"""What kind of NAT is in front of this node, from the addresses at which its peers see it.

Every peer that is on the far side of the NAT stands for a STUN server: it says from which address our datagrams come.
The words are those of RFC 4787, section 4.1; the method is that of RFC 5780, section 4.3, with peers for servers. One
address family at a time: a NAT is a matter of IPv4, and of IPv6 only where somebody has put one in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from math import gcd
from typing import Final, TypeAlias

Address: TypeAlias = tuple[bytes, int]
"""An IP address (4 or 16 bytes) and a UDP port."""

MAX_OBSERVERS: Final = 64
FRESH: Final = 900.0
"""Seconds for which an observation is believed; peers repeat theirs with every answer to a probe."""
LARGEST_STEP: Final = 16
"""Ports further apart than this are no sequence, but chance or another computer's mappings in between."""
NEXT: Final = (1, 2, 3, 4, 5, 6, 7, 8)
ALTERNATE: Final = (1, 3, 5, 7, 9, 11, 2, 4)
"""How many steps ahead the foreseen ports are, in the order in which a peer is to try them.

Where both sides' ports count up, a flow of ours gets in where it goes to the port from which the peer's flow to our
flow's own port comes. If both sides tried one port after the other, that would be so only where no other flow came in
between. One side's ports are tried with a gap, so that for each number of other flows, up to five, another pair meets.
"""


class Mapping(Enum):
    """How the NAT chooses the outer port of a new flow from one inner port."""

    UNKNOWN = "unknown"
    NONE = "none"
    """There is no NAT: peers see this node's own address."""
    INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    DEPENDENT = "address-and-port-dependent"
    """A symmetric NAT, in the words of RFC 3489."""

    @property
    def predictable(self) -> bool:
        """Whether what one peer sees holds for the next."""
        return self in (Mapping.NONE, Mapping.INDEPENDENT)

    @property
    def changes(self) -> bool:
        return self in (Mapping.ADDRESS_DEPENDENT, Mapping.DEPENDENT)


@dataclass(frozen=True, slots=True)
class Nat:
    """What is known of the NAT for one address family."""

    mapping: Mapping = Mapping.UNKNOWN
    outer: Address | None = None
    """The address that most peers see; where the mapping changes, the newest."""
    preserves_port: bool | None = None
    step: int | None = None
    """By how much the outer port grows from one new flow to the next, where that is regular."""
    observers: int = 0
    pooled: bool = False
    """Peers see more than one IP address: IP address pooling is arbitrary (RFC 4787, section 4.1)."""

    def predicted(self, order: Sequence[int] = NEXT) -> list[Address]:
        """Where the next new flows will be seen; `order`: NEXT, or ALTERNATE for one side of two."""
        if self.outer is None or self.step is None or not self.mapping.changes:
            return []
        ip, port = self.outer
        ports = (port + self.step * ahead for ahead in order)
        return [(ip, port) for port in ports if 1024 <= port <= 65_535]


@dataclass(frozen=True, slots=True)
class Observation:
    peer: Address
    """Where our datagram went."""
    seen: Address
    """Where it came from, by the peer's word."""
    first: float
    """When it was seen so for the first time."""
    last: float


class Observations:
    """What peers say of this node's addresses, by the address at which each peer was asked."""

    def __init__(self) -> None:
        self._by_peer: dict[Address, Observation] = {}

    def add(self, peer: Address, seen: Address, now: float) -> None:
        """A peer saw a datagram of ours come from `seen`."""
        known = self._by_peer.pop(peer, None)
        first = known.first if known is not None and known.seen == seen else now
        if known is not None and known.seen != seen:
            # The mapping was renewed. Others that saw the old one have not looked since.
            self._by_peer = {at: other for at, other in self._by_peer.items() if other.seen != known.seen}
        self._by_peer[peer] = Observation(peer, seen, first, now)
        if len(self._by_peer) > MAX_OBSERVERS:
            self._by_peer.pop(next(iter(self._by_peer)))

    def forget(self) -> None:
        """This node's own addresses changed: nothing that was seen need hold any more."""
        self._by_peer.clear()

    def addresses(self, now: float) -> list[Address]:
        """This node's addresses as peers see them, the most agreed on first."""
        counted = Counter(observation.seen for observation in self._fresh(now))
        return [seen for seen, _ in counted.most_common()]

    def nat(self, size: int, own: Collection[bytes], local_port: int, now: float) -> Nat:
        """The NAT for addresses of `size` bytes; `own` are this machine's own addresses of any family."""
        fresh = [observation for observation in self._fresh(now) if len(observation.seen[0]) == size]
        outside = [observation for observation in fresh if observation.seen[0] not in own]
        if not outside:
            if not fresh:
                return Nat()
            seen = _most_seen(fresh)
            return Nat(Mapping.NONE, seen, seen[1] == local_port, None, len(fresh))
        outside.sort(key=lambda observation: observation.first)
        mapping = _mapping(outside)
        step = _step([observation.seen[1] for observation in outside]) if mapping.changes else None
        return Nat(
            mapping=mapping,
            outer=_newest(outside, step) if mapping.changes else _most_seen(outside),
            preserves_port=all(observation.seen[1] == local_port for observation in outside),
            step=step,
            observers=len(outside),
            pooled=len({observation.seen[0] for observation in outside}) > 1,
        )

    def _fresh(self, now: float) -> list[Observation]:
        return [observation for observation in self._by_peer.values() if now - observation.last < FRESH]


def _mapping(outside: Sequence[Observation]) -> Mapping:
    """One port for peers at different addresses settles it; so do two ports for two peers, unless others agree.

    A router that took an early probe for a flow of its own maps one peer's flow to another port: an exception from an
    endpoint-independent mapping, so the majority decides.
    """
    by_ip: dict[bytes, set[Address]] = {}
    for observation in outside:
        by_ip.setdefault(observation.peer[0], set()).add(observation.seen)
    shared = Counter(seen for group in by_ip.values() for seen in group)
    if shared.most_common(1)[0][1] * 2 > len(by_ip) > 1:
        return Mapping.INDEPENDENT
    if len(by_ip) > 1:
        several = [group for group in by_ip.values() if len(group) > 1]
        asked_twice = Counter(observation.peer[0] for observation in outside).most_common(1)[0][1] > 1
        return Mapping.ADDRESS_DEPENDENT if asked_twice and not several else Mapping.DEPENDENT
    return Mapping.DEPENDENT if len(next(iter(by_ip.values()))) > 1 else Mapping.UNKNOWN


def _most_seen(observations: Sequence[Observation]) -> Address:
    return Counter(observation.seen for observation in observations).most_common(1)[0][0]


def _newest(observations: Sequence[Observation], step: int | None) -> Address:
    """The address of the flow that began last, as far as it is known: answers overtake each other."""
    ip, port = observations[-1].seen
    ports = {observation.seen[1] for observation in observations if observation.seen[0] == ip}
    while step is not None:
        ahead = [other for other in ports if 0 < (other - port) * (1 if step > 0 else -1) <= LARGEST_STEP]
        if not ahead:
            break
        port = max(ahead) if step > 0 else min(ahead)
    return ip, port


def _step(ports: Sequence[int]) -> int | None:
    """The step of a sequence of ports, about in the order in which the flows began; None when it is none.

    Flows that nobody tells of are in between, so that it is what most distances between neighbouring ports are
    multiples of.
    """
    in_order = sorted(set(ports))
    gaps = [after - before for before, after in pairwise(in_order)]
    near = [gap for gap in gaps if gap <= LARGEST_STEP]
    if len(gaps) < 2 or len(near) * 2 <= len(gaps):
        return None
    rising = sum((after > before) - (after < before) for before, after in pairwise(ports))
    return gcd(*near) * (1 if rising >= 0 else -1)
