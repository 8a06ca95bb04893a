"""The rules of a full mesh: input and the time go in, what to do comes out; no clock, no socket.

A node tells each direct neighbour which others it is linked to and which addresses it owns, as hashes with the
namespace's key, so that nodes of other namespaces learn nothing of them. It links to everyone it hears of. A neighbour
is proven by its link, so what it says it owns is its own word; of two that own one address, the older claim counts.
"""

import hmac
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

TELL_EVERY = 5.0
CONNECT_AGAIN = 3.0
YOUNG = 2.0
"""Seconds without news after which nobody else is about to turn up."""
AWAITED = 10.0
"""Seconds for which a node that was heard of, and is not linked yet, may still turn out to own an address."""

Id = Annotated[bytes, msgspec.Meta(min_length=20, max_length=20)]
Key = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Claim(msgspec.Struct, array_like=True, frozen=True):
    key: Key
    since: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    """Unix time of the claim, in milliseconds."""


class Hello(msgspec.Struct, array_like=True, frozen=True):
    neighbours: Annotated[tuple[Id, ...], msgspec.Meta(max_length=256)]
    claims: Annotated[tuple[Claim, ...], msgspec.Meta(max_length=16)]


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


class Mesh:
    def __init__(self, me: bytes, namespace_key: bytes | None, most: int) -> None:
        self._me = me
        self._namespace_key = namespace_key
        self._most = most
        self._own: dict[bytes, Claim] = {}
        self._told: dict[bytes, Hello] = {}
        """By neighbour, what it said last."""
        self._tried: dict[bytes, float] = {}
        self._awaited: dict[bytes, float] = {}
        """When each node that is not linked yet was first tried."""
        self._tell_at = 0.0
        self._changed_at = 0.0
        self.links: set[bytes] = set()
        self.dropped = 0

    @property
    def joined(self) -> bool:
        """Some neighbour has spoken."""
        return bool(self._told)

    def set_addresses(self, addresses: list[bytes], unix_ms: int, now: float) -> Doings:
        self._own = {address: self._own.get(address, Claim(self._key(address), unix_ms)) for address in addresses}
        return self._tell(now)

    def link_up(self, node: bytes, now: float) -> Doings:
        self.links.add(node)
        self._awaited.pop(node, None)
        self._changed_at = now
        return self._tell(now)

    def link_down(self, node: bytes, now: float) -> Doings:
        self.links.discard(node)
        self._told.pop(node, None)
        return self._tell(now)

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
        if self._told.get(sender) != hello:
            self._told[sender] = hello
            self._changed_at = now
            doings.news = True
        return doings

    def wake(self, now: float) -> Doings:
        doings = self._tell(now)
        for neighbour, hello in self._told.items():
            doings.connect += self._wish(now, neighbour, hello).connect
        return doings

    def next_wake(self) -> float:
        return self._tell_at

    def owner(self, address: bytes, now: float) -> tuple[bytes | None, bool]:
        """Who owns an address, and whether that, or that nobody does, is certain by now."""
        key = self._key(address)
        claims = [
            (claim.since, node) for node, hello in self._told.items() for claim in hello.claims if claim.key == key
        ]
        if address in self._own:
            claims.append((self._own[address].since, self._me))
        if claims:
            return min(claims)[1], True
        is_awaited = any(now < since + AWAITED for since in self._awaited.values())
        return None, self.joined and now > self._changed_at + YOUNG and not is_awaited

    def _tell(self, now: float) -> Doings:
        self._tell_at = now + TELL_EVERY
        data = self._hello()
        return Doings(send=[(node, data) for node in sorted(self.links)], news=True)

    def _hello(self) -> bytes:
        return msgspec.msgpack.encode(Hello(tuple(sorted(self.links)), tuple(self._own.values())))

    def _wish(self, now: float, neighbour: bytes, hello: Hello) -> Doings:
        doings = Doings()
        for node in hello.neighbours:
            due = self._tried.get(node, now - CONNECT_AGAIN) + CONNECT_AGAIN <= now
            if node != self._me and node not in self.links and due and len(self.links) < self._most:
                self._tried[node] = now
                self._awaited.setdefault(node, now)
                doings.connect.append((node, neighbour))
        if len(self._tried) > 4 * self._most:
            self._tried.clear()
            self._awaited.clear()
        return doings

    def _key(self, address: bytes) -> bytes:
        return hmac.digest(self._namespace_key or b"", b"ipop fullmesh 1" + address, "sha256")
