"""Datagrams that a peer asks this node to send to it from where, or when, its NAT does not expect them.

So peers find out how each other's NATs filter and how long those keep a mapping (RFC 5780, sections 4.4 and 4.6, with
peers for servers). What is asked for is one small sealed datagram, twice because one may be lost, in answer to one
sealed request. An address that the peer only names gets it under the rules for candidates (`courtesy.py`), and all
peers together get few.
"""

from __future__ import annotations

from heapq import heappop, heappush
from ipaddress import ip_address
from typing import Final

from ipop_core.token_bucket import TokenBucket

from . import control
from .blocks import Blocks
from .courtesy import Courtesy
from .events import Endpoint
from .session import Session
from .source import Overlay, Source
from .state import State

RATE: Final = 2.0
BURST: Final = 16.0
MAX_PENDING: Final = 64
COPIES: Final = 2


class Unasked:
    """What one node sends for others' tests."""

    def __init__(self, state: State, blocks: Blocks, courtesy: Courtesy) -> None:
        self._state: Final = state
        self._blocks: Final = blocks
        self._courtesy: Final = courtesy
        self._bucket: TokenBucket | None = None
        self._pending: Final[list[tuple[float, bytes, bytes, Endpoint]]] = []
        """(when, token, node, to where), the earliest first."""

    def asked(self, session: Session, knock: control.Knock, source: Source, now: float) -> None:
        """A peer asks for a datagram: send it, now or later, or tell it that there is none."""
        target = self._target(session, knock, source, now)
        if target is None:
            self._state.counters["knock_refused"] += 1
            self._answer(session, knock.token, sent=False, now=now)
        elif knock.delay:
            heappush(self._pending, (now + knock.delay, knock.token, session.node, target))
        else:
            self._send(session, knock.token, target, now)

    def wake(self, now: float) -> None:
        while self._pending and self._pending[0][0] <= now:
            _, token, node, target = heappop(self._pending)
            session = self._state.sessions.get(node)
            if session is not None:
                self._send(session, token, target, now)

    def next_wake(self) -> float | None:
        return self._pending[0][0] if self._pending else None

    def _target(self, session: Session, knock: control.Knock, source: Source, now: float) -> Endpoint | None:
        if self._bucket is None:
            self._bucket = TokenBucket(RATE, BURST, now)
        if isinstance(source, Overlay):
            return self._named(session, knock, now) if self._bucket.take(now) else None
        if knock.ip or not self._bucket.take(now) or len(self._pending) >= MAX_PENDING:
            return None
        if knock.other_port:
            return next(iter(self._state.wire.branch(source, 1)), None)
        session.paths.leave(source)
        return source

    def _named(self, session: Session, knock: control.Knock, now: float) -> Endpoint | None:
        """An address that this node has no path to, by the peer's word: from a new port, which no NAT remembers."""
        if len(knock.ip) not in (4, 16) or knock.delay or knock.port < 1024 or session.direct:
            return None
        ip = ip_address(knock.ip)
        if ip.is_multicast or ip.is_unspecified or ip.is_loopback or ip.is_link_local or ip.is_reserved:
            return None
        endpoint = self._state.wire.endpoint_at(knock.ip, knock.port)
        address = knock.ip, knock.port
        if endpoint is None or not self._courtesy.allows(address, session.node, now, member=session.member):
            return None
        return next(iter(self._state.wire.branch(endpoint, 1)), None)

    def _send(self, session: Session, token: bytes, target: Endpoint, now: float) -> None:
        keys = session.sending_keys()
        if keys is None:
            return
        for _ in range(COPIES):
            self._blocks.send_to(target, keys, control.frame(control.Unasked(token)))
        self._answer(session, token, sent=True, now=now)

    def _answer(self, session: Session, token: bytes, *, sent: bool, now: float) -> None:
        self._blocks.send(session, control.frame(control.Knocked(token, sent)), now)
