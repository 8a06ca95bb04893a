"""The rules of a full mesh: input, time and random bytes go in, what to do comes out; no clock, no socket.

A node tells each direct neighbour which others it is linked to, and which addresses and host name it owns, sealed for
members of its namespace (`profile.py`). It links to everyone it hears of, to a few at once: ids are free to make up, so
of what one neighbour names only some are tried at a time, and where all of that comes to nothing, nobody waits any more
for what else it names. A neighbour is proven by its link, so what it
says it owns is its own word; of two that own one address or name, the older claim counts. An address of the mesh's
choosing is claimed like any other, and is this node's when nobody else has claimed it for a while.
"""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

import msgspec

from ipop_fullmesh.allocation import Allocation
from ipop_fullmesh.profile import MAX_SEALED, Subject, opened, sealed

TELL_EVERY = 5.0
CONNECT_AGAIN = 3.0
YOUNG = 2.0
"""Seconds without news after which nobody else is about to turn up."""
AWAITED = 10.0
"""Seconds for which a node that was heard of is tried; until they end, it may still turn out to own an address."""
REST = 20.0
"""Seconds after which a node is tried again that was tried in vain."""
AT_ONCE = 32
"""Nodes that are tried at once."""
OF_ONE = 8
"""Of these, so many that one neighbour named; and after so many in vain, its names are not waited for."""
MOST_ADDRESSES = 16

Id = Annotated[bytes, msgspec.Meta(min_length=20, max_length=20)]


class Hello(msgspec.Struct, array_like=True, frozen=True):
    neighbours: Annotated[tuple[Id, ...], msgspec.Meta(max_length=256)]
    profile: Annotated[bytes, msgspec.Meta(max_length=MAX_SEALED)]


_decoder = msgspec.msgpack.Decoder(Hello)


@dataclass
class Doings:
    """What is to be done."""

    send: list[tuple[bytes, bytes]] = field(default_factory=list)
    """(neighbour, data) for the same role there."""
    connect: list[tuple[bytes, bytes]] = field(default_factory=list)
    """(node, neighbour that knows it)."""
    news: bool = False
    """Links or claims have changed: routes, registrations and lookups may have, too."""


@dataclass
class Attempt:
    named_by: bytes
    since: float
    again_at: float
    is_awaited: bool
    """It may own an address."""


class Mesh:
    def __init__(self, me: bytes, namespace_key: bytes | None, most: int, random: Callable[[int], bytes]) -> None:
        self._me = me
        self._namespace_key = namespace_key
        self._most = most
        self._random = random
        self._addresses: list[bytes] = []
        self._name: str | None = None
        self._allocation: Allocation | None = None
        self._own: dict[Subject, int] = {}
        """What this node claims, and since when."""
        self._profile = b""
        self._told: dict[bytes, Hello] = {}
        """By neighbour, what it said last."""
        self._claims: dict[bytes, dict[Subject, int]] = {}
        """By neighbour that is a member, what it claims."""
        self._attempts: dict[bytes, Attempt] = {}
        """By node that is tried and is not linked yet."""
        self._rests: dict[bytes, float] = {}
        """By node that was tried in vain, until when it is left alone."""
        self._vain: Counter[bytes] = Counter()
        """By neighbour, how many of those that it named were tried in vain since one was linked."""
        self._tell_at = 0.0
        self._changed_at = 0.0
        self.links: set[bytes] = set()
        self.dropped = 0

    @property
    def joined(self) -> bool:
        """Some neighbour has spoken."""
        return bool(self._told)

    def set_addresses(self, addresses: list[bytes], unix_ms: int, now: float) -> Doings:
        self._addresses = addresses[:MOST_ADDRESSES]
        return self._claim(unix_ms, now)

    def set_name(self, name: str | None, unix_ms: int, now: float) -> Doings:
        self._name = name
        return self._claim(unix_ms, now)

    def allocate(self, network: IPv4Network | IPv6Network, wanted: bytes | None, unix_ms: int, now: float) -> Doings:
        """Begin to claim a free address of the network, `wanted` if that is one, unless that is under way."""
        if self._allocation is None or self._allocation.network != network or self._allocation.address is None:
            self._allocation = Allocation(network, self._me, wanted, now)
        return self.settle(unix_ms, now)

    def settle(self, unix_ms: int, now: float) -> Doings:
        """Go on to the next address where somebody else turned out to have the one that is tried."""
        allocation = self._allocation
        if allocation is None:
            return Doings()
        while allocation.address is not None and self._others(allocation.address, unix_ms):
            allocation.next(now)
        if allocation.address is None or allocation.address not in self._own:
            return self._claim(unix_ms, now)
        return Doings()

    def allocated(self, now: float) -> tuple[bytes | None, bool]:
        """The address of the mesh's choosing, and whether that, or that none is free, is certain by now."""
        allocation = self._allocation
        if allocation is None or allocation.address is None:
            return None, True
        allocation.is_settled = allocation.is_settled or self._is_quiet(allocation.since, now)
        return allocation.address, allocation.is_settled

    def link_up(self, node: bytes, now: float) -> Doings:
        self._linked(node)
        self._changed_at = now
        return self._look_around(now)

    def link_down(self, node: bytes, now: float) -> Doings:
        self._unlinked(node)
        return self._tell(now)

    def relink(self, up: Collection[bytes], now: float) -> Doings:
        """The link module, or this one, was restarted: these nodes have links, and no others."""
        for node in self.links.difference(up):
            self._unlinked(node)
        for node in up:
            self._linked(node)
        self._changed_at = now
        return self._look_around(now)

    def receive(self, sender: bytes, data: bytes, now: float) -> Doings:
        try:
            hello = _decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.dropped += 1
            return Doings()
        if sender not in self.links:
            return Doings()
        doings = self._wish(now, sender, hello)
        if sender not in self._told:
            # It may have missed ours: its side of the link may have come up after this one.
            doings.send.append((sender, self._hello()))
        before = self._told.get(sender)
        if before != hello:
            self._told[sender] = hello
            doings.news = True
            claims = self._claims.get(sender)
            if (before is None or before.profile != hello.profile) and self._namespace_key is not None:
                self._claims[sender] = opened(hello.profile, sender, self._namespace_key)
            if before is None or claims != self._claims.get(sender):
                self._changed_at = now
        return doings

    def wake(self, now: float) -> Doings:
        return self._look_around(now)

    def next_wake(self) -> float:
        return self._tell_at

    def owner(self, subject: Subject, now: float) -> tuple[bytes | None, bool]:
        """Who owns an address or a host name, and whether that, or that nobody does, is certain by now."""
        claims = [(since[subject], node) for node, since in self._claims.items() if subject in since]
        if subject in self._own:
            claims.append((self._own[subject], self._me))
        if claims:
            return min(claims)[1], True
        return None, self._is_quiet(self._changed_at, now)

    def members(self) -> dict[bytes, tuple[str | None, list[bytes]]]:
        """Those of the namespace that are known, this node included: host name and addresses of each."""
        known = {node: since for node, since in self._claims.items() if since}
        if self._namespace_key is not None:
            known[self._me] = self._own
        found = {}
        for node, since in known.items():
            name = next((subject for subject in since if isinstance(subject, str)), None)
            found[node] = name, sorted(subject for subject in since if isinstance(subject, bytes))
        return found

    def _is_quiet(self, since: float, now: float) -> bool:
        """Whether who else claims something that is claimed since then would have turned up."""
        is_awaited = any(attempt.is_awaited and now < attempt.since + AWAITED for attempt in self._attempts.values())
        return self.joined and now > max(since, self._changed_at) + YOUNG and not is_awaited

    def _others(self, address: bytes, unix_ms: int) -> bool:
        """Whether somebody else claims an address, and did so first."""
        own = self._own.get(address, unix_ms), self._me
        return any((since[address], node) < own for node, since in self._claims.items() if address in since)

    def _claim(self, unix_ms: int, now: float) -> Doings:
        """Claim what this node is to have; what it claims already it has since then."""
        chosen = None if self._allocation is None else self._allocation.address
        addresses = dict.fromkeys([*([chosen] if chosen else []), *self._addresses])
        subjects: list[Subject] = [*addresses]
        del subjects[MOST_ADDRESSES:]
        if self._name is not None and subjects:
            subjects.append(self._name)
        own = {subject: self._own.get(subject, unix_ms) for subject in subjects}
        if own != self._own and self._namespace_key is not None:
            self._profile = sealed(own, self._me, self._namespace_key, self._random)
        self._own = own
        return self._tell(now)

    def _tell(self, now: float) -> Doings:
        self._tell_at = now + TELL_EVERY
        data = self._hello()
        return Doings(send=[(node, data) for node in sorted(self.links)], news=True)

    def _hello(self) -> bytes:
        return msgspec.msgpack.encode(Hello(tuple(sorted(self.links)), self._profile))

    def _linked(self, node: bytes) -> None:
        self.links.add(node)
        self._rests.pop(node, None)
        attempt = self._attempts.pop(node, None)
        if attempt is not None:
            self._vain.pop(attempt.named_by, None)

    def _unlinked(self, node: bytes) -> None:
        self.links.discard(node)
        for known in (self._told, self._claims, self._vain):
            known.pop(node, None)

    def _look_around(self, now: float) -> Doings:
        """Tell all neighbours, and try whom they name."""
        doings = self._tell(now)
        for neighbour, hello in self._told.items():
            doings.connect += self._wish(now, neighbour, hello).connect
        return doings

    def _wish(self, now: float, neighbour: bytes, hello: Hello) -> Doings:
        self._give_up(now)
        doings = Doings()
        for node in hello.neighbours:
            if node == self._me or node in self.links or len(self.links) >= self._most:
                continue
            attempt = self._attempts.get(node) or self._attempt(node, neighbour, now)
            if attempt is not None and attempt.again_at <= now:
                attempt.again_at = now + CONNECT_AGAIN
                doings.connect.append((node, neighbour))
        return doings

    def _attempt(self, node: bytes, named_by: bytes, now: float) -> Attempt | None:
        """Begin to try a node, if there is room for one more that this neighbour named."""
        of_one = sum(attempt.named_by == named_by for attempt in self._attempts.values())
        if node in self._rests or of_one >= OF_ONE or len(self._attempts) >= AT_ONCE:
            return None
        attempt = self._attempts[node] = Attempt(named_by, now, now, self._vain[named_by] < OF_ONE)
        return attempt

    def _give_up(self, now: float) -> None:
        """On those that were tried for long enough; others have their places then."""
        for node in [node for node, until in self._rests.items() if until <= now]:
            del self._rests[node]
        for node, attempt in [*self._attempts.items()]:
            if attempt.since + AWAITED <= now:
                del self._attempts[node]
                self._rests[node] = now + REST
                if attempt.named_by in self.links:
                    self._vain[attempt.named_by] += 1
