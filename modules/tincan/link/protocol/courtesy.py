"""How many probes an address gets that has never answered, and for whom they are sent.

Candidates are a peer's word. They may name somebody else's address, so no list of candidates, however long and however
often it comes, makes this node send more than a few small datagrams to an address that has not answered; and fewer and
fewer when it goes on not answering: each window of a host's that passes so is followed by one twice as long.

Node ids are free to make. So members and strangers have allowances of their own, and of each of them, as of each
host's, a peer gets no more than a part of what is left: many together take long to use up what whoever comes next
needs (after Choudhury and Hahne, "Dynamic Queue Length Thresholds", 1998). What is answered is given back.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final

from .mapping import Address

TO_AN_ADDRESS: Final = 16
"""Unanswered probes to one address and port in a window, for one peer: two rounds of tries (path.py)."""
WINDOW: Final = 30.0
LONGEST_WINDOW: Final = 480.0
"""Of a host's; a rendezvous is repeated every 256 s at last (session.py), so that each still has its round of tries."""
PART_OF_A_HOST: Final = 1 / 2
PART_OF_ALL: Final = 1 / 8
"""What one peer gets, of what is left: a third, and a ninth, where it is alone."""
MAX_HOSTS: Final = 4096


@dataclass(frozen=True, slots=True)
class Allowance:
    """Unanswered probes in a window for all of a kind of peers together."""

    to_a_host: int
    """To one IP address: candidates of a peer behind one router, foreseen ports among them."""
    to_all: int


MEMBERS: Final = Allowance(to_a_host=96, to_all=1536)
STRANGERS: Final = Allowance(to_a_host=32, to_all=512)
"""Nodes that have not proven that they belong to this node's namespace: most of the ring's neighbours."""


@dataclass(slots=True)
class _Tally:
    """What was sent since the window began, by peer and by (peer, port)."""

    most: int
    part: float
    longest: float
    since: float
    lasts: float = WINDOW
    sent: int = 0
    shares: Counter[bytes] = field(default_factory=Counter)
    ports: Counter[tuple[bytes, int]] = field(default_factory=Counter)

    def renew(self, now: float) -> None:
        over = now - self.since - self.lasts
        if over < 0:
            return
        in_vain = self.sent > 0 and over < LONGEST_WINDOW
        self.lasts = min(2 * self.lasts, self.longest) if in_vain else WINDOW
        self.since, self.sent = now, 0
        self.shares.clear()
        self.ports.clear()

    def has_room(self, peer: bytes) -> bool:
        return self.shares[peer] < self.part * (self.most - self.sent)

    def add(self, peer: bytes, count: int) -> None:
        count = max(count, -self.shares[peer])
        self.shares[peer] += count
        self.sent += count


class _Pot:
    """The allowance of one kind of peers, and what is left of it."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance: Final = allowance
        self._all: Final = _Tally(allowance.to_all, PART_OF_ALL, WINDOW, 0.0)
        self.hosts: Final[OrderedDict[bytes, _Tally]] = OrderedDict()

    def take(self, peer: bytes, address: Address, now: float) -> bool:
        ip, port = address
        host = self.hosts.pop(ip, None) or _Tally(self._allowance.to_a_host, PART_OF_A_HOST, LONGEST_WINDOW, now)
        self.hosts[ip] = host
        if len(self.hosts) > MAX_HOSTS:
            self.hosts.popitem(last=False)
        for tally in (host, self._all):
            tally.renew(now)
        room = host.has_room(peer) and self._all.has_room(peer) and host.ports[peer, port] < TO_AN_ADDRESS
        if room:
            host.ports[peer, port] += 1
            for tally in (host, self._all):
                tally.add(peer, 1)
        return room

    def give_back(self, peer: bytes, address: Address) -> None:
        ip, port = address
        host = self.hosts.get(ip)
        if host is not None:
            count = host.ports.pop((peer, port), 0)
            for tally in (host, self._all):
                tally.add(peer, -count)


class Courtesy:
    """Counts what was sent to whom; a peer is a node id, times are seconds on one monotonic clock."""

    def __init__(self) -> None:
        self._members: Final = _Pot(MEMBERS)
        self._strangers: Final = _Pot(STRANGERS)

    def allows(self, address: Address, peer: bytes, now: float, *, member: bool) -> bool:
        """Count one more probe to an address that a peer named; False when it must not be sent."""
        return (self._members if member else self._strangers).take(peer, address, now)

    def answered(self, address: Address, peer: bytes) -> None:
        """This address proved to be that peer's: nothing that was sent there counts any more."""
        for pot in (self._members, self._strangers):
            pot.give_back(peer, address)
