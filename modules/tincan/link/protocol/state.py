"""What the parts of the link machine share: who this node is, its sessions, its way out, what it counts and tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from ipop_core.authority.revocation import RevocationList
from ipop_core.namespace import Namespace

from .backlog import Load, Unsent
from .events import Endpoint, Event
from .handshake import Credentials
from .holding import Room
from .keys import Cipher
from .lifetime import Lifetime
from .session import ACKNOWLEDGE_AFTER, KEYLESS_IDLE, Counters, Session, new_session
from .timers import Timers

Buffer: TypeAlias = bytes | bytearray | memoryview


class Wire(Protocol):
    """The way out for datagrams: a UDP socket, or a simulated network."""

    def transmit(self, endpoint: Endpoint, buffers: Sequence[Buffer], segment: int) -> Unsent | None:
        """Send what `buffers` hold together, cut every `segment` bytes; what can't be sent is dropped and counted.

        Told, and not counted, is where a datagram is too long for the card that it would leave by, and where there is
        no room for it now.
        """
        ...

    def hold(self, endpoint: Endpoint, buffers: Sequence[Buffer], segment: int, load: Load) -> bool:
        """Keep what there was no room for until there is; False when it was dropped."""
        ...

    @property
    def overflow(self) -> int:
        """Datagrams that arrived and found no room, so far."""
        ...

    def address(self, endpoint: Endpoint) -> tuple[bytes, int]:
        """The IP address (4 or 16 bytes) and port of an endpoint."""
        ...

    def endpoint_at(self, ip: bytes, port: int) -> Endpoint | None:
        """The endpoint of an IP address (4 or 16 bytes) and port; None where it can't be reached from here."""
        ...

    def branch(self, endpoint: Endpoint, count: int) -> Sequence[Endpoint]:
        """The same address by way of up to `count` further local sockets, each with a port of its own."""
        ...


@dataclass(frozen=True, kw_only=True)
class Node:
    """What this node is, to others."""

    node: bytes
    credentials: Credentials
    namespace: Namespace | None
    cipher: Callable[[bytes], Cipher]
    unix_time: Callable[[], float]
    """For the dates of certificates."""
    revocations: tuple[RevocationList, ...] = ()
    """The lists of revoked certificates that are known from before."""


@dataclass(frozen=True, slots=True)
class State:
    """Made once for a machine; every part holds it. `random` gives that many bytes."""

    node: Node
    wire: Wire
    random: Callable[[int], bytes]
    sessions: dict[bytes, Session] = field(default_factory=dict)
    timers: Timers = field(default_factory=Timers)
    counters: Counter[str] = field(default_factory=Counter)
    ended: Counters = field(default_factory=Counters)
    """What sessions that are over had carried."""
    former: dict[bytes, None] = field(default_factory=dict)
    """Nodes that this one has sent to directly and whose sessions are over; of very many the last."""
    other_versions: dict[bytes, int] = field(default_factory=dict)
    """Nodes that speak another version of the protocol, and which; of very many the last."""
    room: Room = field(default_factory=Room)
    """For card frames that are held."""
    lifetime: Lifetime = field(default_factory=Lifetime)
    """How long the NAT in front of this node keeps a mapping."""
    events: list[Event] = field(default_factory=list)
    """What happened since the adapter last took it."""

    @property
    def own(self) -> bytes:
        return self.node.node

    def session(self, node: bytes, now: float) -> Session:
        """What is known of a peer; made where it is the first time that this node has to do with it."""
        session = self.sessions.get(node)
        if session is None:
            session = self.sessions[node] = new_session(node, self.random, self.room, now)
            self.timers.plan(node, now + KEYLESS_IDLE)
        return session

    def owe(self, session: Session, now: float) -> None:
        """A message came on the direct path: if nothing goes back for it soon, it is acknowledged (probing.py)."""
        if session.owed_since is None:
            session.owed_since = now
            self.timers.plan(session.node, now + ACKNOWLEDGE_AFTER)

    def transmit(self, endpoint: Endpoint, buffers: Sequence[Buffer]) -> bool:
        """Send one datagram that keeps links alive, as soon as there is room; False when it is too long for a card."""
        size = sum(map(len, buffers))
        unsent = self.wire.transmit(endpoint, buffers, size)
        if unsent is Unsent.FULL:
            self.hold(endpoint, buffers, size, Load.CONTROL)
        return unsent is not Unsent.TOO_LONG

    def hold(self, endpoint: Endpoint, buffers: Sequence[Buffer], segment: int, load: Load) -> bool:
        """Keep what there was no room for, or count it; False when it was dropped."""
        kept = self.wire.hold(endpoint, buffers, segment, load)
        if not kept:
            self.counters["drop_full_" + load.value] += 1
        return kept

    def carried(self) -> Counters:
        """What all sessions have carried since the start; it never falls."""
        total = Counters()
        for counters in (self.ended, *(session.counters for session in self.sessions.values())):
            total.add(counters)
        return total

    def is_sound(self, node: bytes) -> bool:
        """Whether there is a direct path to a node that is neither failing nor about to go."""
        session = self.sessions.get(node)
        return session is not None and session.direct and not session.failing and not session.is_parting

    def is_linked(self, node: bytes) -> bool:
        """Whether there is a direct path to a node."""
        session = self.sessions.get(node)
        return session is not None and session.direct
