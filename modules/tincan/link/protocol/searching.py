"""The search for a way through a symmetric NAT on one side, where the other side filters by address and port.

Neither side can know the port that the symmetric NAT will give to the other's flow. So that side opens many flows, one
from each of many local sockets, and the other sends to random ports of its router until one of them is such a flow: by
the birthday paradox 256 flows and 1,744 tries meet in 999 cases of 1,000. The arithmetic is in docs/nat.md.

Many flows are a burden for a router. So an attempt has a budget for both sides together, there is one attempt at a
time, a peer that was searched for in vain is left alone for ever longer, and only a member of this node's namespace is
searched for. Where the router is, only the peer says, and in an open namespace a member costs nothing: so the network
that was sent to in vain is left alone as well, whoever names it. What is sent is a usual probe under the session's
keys, and a hit is a peer's probe from an address that was not known: path.py takes it from there, so nothing here has
to be remembered.

One side alone finds nothing and spends its budget. So each tells the other, with its addresses, whether it can take
part now (`able`); where one can't, neither begins. Whoever was busy has the rendezvous repeated when it is free again,
and whoever had said yes and then could not says so at once, before the other has sent anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from . import control
from .blocks import Blocks
from .events import Endpoint, RendezvousWanted
from .session import Session
from .state import State

PATIENCE: Final = 0.8
"""Seconds that the ordinary probes of a rendezvous are given first."""
OPENING: Final = 0.4
"""How much later the other side begins: then the flows are there."""
TICK: Final = 0.05
OPENED_A_TICK: Final = 32
SENT_A_TICK: Final = 10
"""200 datagrams a second."""
LINGER: Final = 4.0
REST: Final = 60.0
LONGEST_REST: Final = 3600.0
MAX_RESTING: Final = 512
"""Peers and networks, two for an attempt."""
MAX_WAITING: Final = 16
CALL_AGAIN: Final = 2.0
"""Seconds that a peer which waited is given to come to terms, before the next one is called."""
MAX_PROMISED: Final = 256
NETWORK: Final = 8
"""Bytes of an IPv6 address that are its owner's network; an IPv4 address has fewer, and counts whole."""
LOWEST_PORT: Final = 1024
PORTS: Final = 65_536 - LOWEST_PORT


class Refusal(Enum):
    """Why this node can't take part in a search now."""

    BUSY = "busy"
    """It searches for another peer."""
    RESTING = "resting"
    """The last search for this peer, or on this network, was in vain."""


class Part(Enum):
    """What this node does in a search."""

    OPEN = "open"
    """It is behind the symmetric NAT: open many flows to the peer's one address."""
    GUESS = "guess"
    """The peer is: send to random ports of its router."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one attempt may cost, both sides together; `datagrams` 0: never search."""

    datagrams: int = 2000
    sockets: int = 256

    @property
    def guesses(self) -> int:
        return max(0, self.datagrams - self.sockets)


@dataclass(slots=True)
class Attempt:
    node: bytes
    part: Part
    target: Endpoint
    """The peer's outer address; of it, the guessing side uses the host alone."""
    next_tick: float
    left: int
    sent: int = 0
    ends: float | None = None
    """When the attempt has failed, once all is sent."""


@dataclass(slots=True)
class _Rest:
    until: float
    failures: int


Search: TypeAlias = tuple[Part, Endpoint]
"""This node's part, and the peer's outer address."""


class Searching:
    """The searches of one node, one at a time."""

    def __init__(self, state: State, blocks: Blocks, limits: Limits) -> None:
        self._state: Final = state
        self._blocks: Final = blocks
        self.limits = limits
        """Those of the next attempt."""
        self._attempt: Attempt | None = None
        self._resting: Final[dict[bytes, _Rest]] = {}
        """By node id (20 bytes), and by network (NETWORK bytes or 4)."""
        self._waiting: Final[OrderedDict[bytes, None]] = OrderedDict()
        """Peers that could not be searched for because this node was busy."""
        self._call_at = 0.0
        self._promised: Final[OrderedDict[bytes, None]] = OrderedDict()
        """Peers that were told that this node can take part."""
        self.opened: Sequence[Endpoint] = ()
        """The peer's address by way of each socket that was opened for the attempt."""

    @property
    def allowed(self) -> bool:
        """Whether this node searches at all."""
        return self.limits.guesses > 0

    def told(self, node: bytes, now: float) -> dict[str, object]:
        """How the search for a node stands, for `ipop why`."""
        attempt, rest = self._attempt, self._resting.get(node)
        running = attempt if attempt is not None and attempt.node == node else None
        return {
            "allowed": self.allowed,
            "part": None if running is None else running.part.value,
            "sent": 0 if running is None else running.sent,
            "failures": 0 if rest is None else rest.failures,
            "rests_s": 0.0 if rest is None else round(max(0.0, rest.until - now), 1),
            "busy": self.refusal(node, None, now) is Refusal.BUSY,
        }

    def refusal(self, node: bytes, target: Endpoint | None, now: float) -> Refusal | None:
        """Why this node can't search for a peer now, whose outer address is `target`; None where it can."""
        if self._attempt is not None and self._attempt.node != node:
            return Refusal.BUSY
        keys = (node,) if target is None else self._keys(node, target)
        if any(now < rest.until for key in keys if (rest := self._resting.get(key)) is not None):
            return Refusal.RESTING
        return None

    def able(self, node: bytes, target: Endpoint | None, now: float) -> bool:
        """As `refusal`: the word to give to that peer."""
        if not self.allowed or self.refusal(node, target, now) is not None:
            return False
        self._promised[node] = None
        if len(self._promised) > MAX_PROMISED:
            self._promised.popitem(last=False)
        return True

    def begin(self, session: Session, part: Part, target: Endpoint, now: float) -> None:
        """Search for a way to this peer, which can take part, if its ordinary probes come to nothing."""
        node = session.node
        if not self.allowed or session.direct or session.keys is None:
            return
        if self._attempt is not None and self._attempt.node == node:
            return
        refusal = self.refusal(node, target, now)
        if refusal is not None:
            self._state.counters[f"search_{refusal.value}"] += 1
            if refusal is Refusal.BUSY:
                self._wait(node)
            if node in self._promised:
                del self._promised[node]
                self._state.events.append(RendezvousWanted(node))
            return
        self._waiting.pop(node, None)
        begins = now + PATIENCE + (OPENING if part is Part.GUESS else 0.0)
        count = self.limits.sockets if part is Part.OPEN else self.limits.guesses
        self._attempt = Attempt(node, part, target, begins, count)

    def call_off(self, node: bytes, now: float) -> None:
        """The peer can't take part now. What has begun is brought to its end: its budget is spent once."""
        self._state.counters["search_peer_unable"] += 1
        if self._attempt is not None and self._attempt.node == node and not self._attempt.sent:
            self._attempt, self._call_at = None, now
        elif self._attempt is not None and self._attempt.node != node:
            self._wait(node)

    def _wait(self, node: bytes) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting[node] = None

    def _call(self, now: float) -> None:
        """Have the rendezvous with the next peer that waited repeated."""
        self._call_at = now + CALL_AGAIN
        while self._waiting:
            node, _ = self._waiting.popitem(last=False)
            session = self._state.sessions.get(node)
            if session is not None and session.keys is not None and session.member and not session.direct:
                self._state.events.append(RendezvousWanted(node))
                return

    def wake(self, now: float) -> None:
        attempt = self._attempt
        if attempt is None:
            if self._waiting and now >= self._call_at:
                self._call(now)
            return
        session = self._state.sessions.get(attempt.node)
        if session is None or session.keys is None or session.direct or not session.member:
            self._end(attempt, found=session is not None and session.direct, now=now)
        elif now < attempt.next_tick:
            return
        elif attempt.ends is not None:
            self._end(attempt, found=False, now=now)
        elif attempt.left <= 0:
            attempt.ends = attempt.next_tick = now + LINGER + self._others_time(attempt)
        else:
            attempt.next_tick = now + TICK
            self._send(attempt, session)

    def next_wake(self) -> float | None:
        if self._attempt is not None:
            return self._attempt.next_tick
        return self._call_at if self._waiting else None

    def _send(self, attempt: Attempt, session: Session) -> None:
        keys = session.sending_keys()
        if keys is None:
            return
        if attempt.part is Part.OPEN:
            if not attempt.sent:
                self._state.counters["searches"] += 1
                self.opened = self._state.wire.branch(attempt.target, attempt.left)
                attempt.left = len(self.opened)
            targets = self.opened[attempt.sent : attempt.sent + OPENED_A_TICK]
        else:
            self._state.counters["searches"] += not attempt.sent
            targets = [self._guess(attempt.target) for _ in range(min(SENT_A_TICK, attempt.left))]
        for target in targets:
            self._blocks.send_to(target, keys, control.frame(control.Probe(self._state.random(8))))
        attempt.sent += len(targets)
        attempt.left -= len(targets)
        self._state.counters["search_sent"] += len(targets)

    def _guess(self, target: Endpoint) -> Endpoint:
        port = LOWEST_PORT + int.from_bytes(self._state.random(4)) % PORTS
        return (target[0], port, *target[2:])

    def _others_time(self, attempt: Attempt) -> float:
        """The side that opens waits for as long as the other guesses."""
        if attempt.part is Part.GUESS:
            return 0.0
        return OPENING + self.limits.guesses / SENT_A_TICK * TICK

    def _keys(self, node: bytes, target: Endpoint) -> tuple[bytes, bytes]:
        """What rests after an attempt in vain."""
        return node, self._state.wire.address(target)[0][:NETWORK]

    def _end(self, attempt: Attempt, *, found: bool, now: float) -> None:
        self._attempt, self.opened, self._call_at = None, (), now
        if not attempt.sent:
            return
        self._state.counters["searches_found"] += found
        node, network = self._keys(attempt.node, attempt.target)
        if not found:
            self._rest(node, now)
            self._rest(network, now)
            return
        self._resting.pop(node, None)
        path = self._state.sessions[node].paths.active
        if path is not None and self._keys(node, path.endpoint)[1] == network:
            self._resting.pop(network, None)
        else:
            self._rest(network, now)  # the peer is elsewhere than it said

    def _rest(self, key: bytes, now: float) -> None:
        rest = self._resting.setdefault(key, _Rest(now, 0))
        rest.until = now + min(REST * 2**rest.failures, LONGEST_REST)
        rest.failures += 1
        if len(self._resting) > MAX_RESTING:
            # Not the oldest: many short attempts must not make room for the next one on who was searched for often.
            del self._resting[min(self._resting, key=lambda key: self._resting[key].until)]
