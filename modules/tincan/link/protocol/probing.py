"""The direct paths of a session: which addresses are tried, and what becomes of the path in use (`path.py`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from . import control
from .answering import Answering
from .blocks import Blocks
from .courtesy import Courtesy
from .events import Endpoint, LinkDown, LinkUp, PathChanged
from .path import Path, is_silent
from .path import State as PathState
from .seeking import Seeking
from .session import ACKNOWLEDGE_AFTER, Keys, Session
from .source import Overlay, Source
from .state import State
from .timers import SHORTEST_WAIT

LONGEST_WAIT: Final = 2.0
"""Of a round trip over the overlay, as far as it is waited for."""


class Probing:
    """Probes that this node sends and answers, and what it tells of the paths."""

    def __init__(
        self, state: State, blocks: Blocks, seeking: Seeking, courtesy: Courtesy, answering: Answering
    ) -> None:
        self._state: Final = state
        self._blocks: Final = blocks
        self._seeking: Final = seeking
        self._courtesy: Final = courtesy
        self._answering: Final = answering

    def probe(self, node: bytes, candidates: Iterable[Endpoint], now: float, *, early: bool = False) -> None:
        """Try these addresses of a peer under the session's keys.

        `early`: the peer starts when it hears from us over the overlay, which takes half a round trip. Waiting for as
        long makes both sides' first probes cross on the way: one that comes before the other side's own has left can
        make its router keep the port for a flow of the router's own, and map the real flow to another port.
        """
        session = self._state.sessions.get(node)
        if session is None or session.keys is None:
            self._state.counters["probe_no_session"] += 1
            return
        if session.paths.away_until is not None and now >= session.paths.away_until:
            session.paths.welcome()
        start = now + min(session.overlay_rtt or 0.0, LONGEST_WAIT) / 2 if early else now
        for endpoint in candidates:
            session.paths.add(endpoint, start)
        self.tend(session, now)

    def tend(self, session: Session, now: float) -> None:
        """Send the probes that are due, and plan the next."""
        before, failed = session.paths.active, session.failing
        session.paths.keepalive = min(session.paths.keepalive, self._state.lifetime.keepalive)
        probes = session.paths.wake(now, keep=session.keep_alive(now))
        if session.failing and not failed:
            self._seeking.lost(session, now)
        keys = session.sending_keys()
        if keys is not None:
            for endpoint, token in probes:
                if not session.paths.validated(endpoint) and not self._may_try(session, endpoint, now):
                    continue
                active = session.paths.active
                aside = active is None or endpoint != active.endpoint
                self._blocks.send_to(endpoint, keys, control.frame(control.Probe(token)), aside=aside)
        if session.owed_since is not None and now >= session.owed_since + ACKNOWLEDGE_AFTER:
            session.owed_since = None
            if keys is not None and session.paths.active is not None:
                heard = control.frame(control.Heard())
                self._blocks.send_to(session.paths.active.endpoint, keys, heard, aside=False)
        self.tell(session, before, now)
        self._seeking.tend(session, now)
        due = session.paths.next_wake(keep=session.keep_alive(now))
        if due is not None:
            self._state.timers.plan(session.node, max(due, now + SHORTEST_WAIT))

    def probed(self, session: Session, keys: Keys, token: bytes, source: Source, now: float) -> None:
        """A probe came: answer it where it came from, and try that address too."""
        if isinstance(source, Overlay):
            self._state.counters["drop_probe_over_overlay"] += 1
            return
        ip, port = self._state.wire.address(source)
        self._answering.answer(session, keys, control.ProbeAnswer(token, ip, port), source, now)
        session.paths.reflexive(source, now)
        self._state.timers.plan(session.node, now)

    def answered(self, session: Session, answer: control.ProbeAnswer, source: Source, now: float) -> None:
        """A probe's answer came."""
        before = session.paths.active
        if isinstance(source, Overlay) or not session.paths.answered(answer.token, source, now):
            self._state.counters["drop_probe_answer"] += 1
            return
        self._courtesy.answered(self._state.wire.address(source), session.node)
        self._answering.validated(session, source)
        if len(answer.ip) in (4, 16) and answer.port:
            self._seeking.observed(session, source, answer.ip, answer.port, now)
        elif answer.ip:
            self._state.counters["drop_observed"] += 1
        self.tell(session, before, now)

    def tell(self, session: Session, before: Path | None, now: float) -> None:
        """Tell the adapter what became of the path in use since `before`."""
        after, events = session.paths.active, self._state.events
        if after is before:
            return
        if after is None:
            missed = session.keep_alive(now)
            events.append(LinkDown(session.node, "no answer" if missed else "idle"))
            if missed:
                self._seeking.lost(session, now)
        elif before is None:
            self._seeking.found(session)
            initiator = session.keys is not None and session.keys.pair.is_initiator
            events.append(LinkUp(session.node, after.endpoint, initiator))
        else:
            events.append(PathChanged(session.node, after.endpoint, _why(session, before, after, now)))

    def _may_try(self, session: Session, endpoint: Endpoint, now: float) -> bool:
        address = self._state.wire.address(endpoint)
        if self._courtesy.allows(address, session.node, now, member=session.member):
            return True
        session.paths.history.withheld(endpoint)
        self._state.counters["probe_held_back"] += 1
        return False


def _why(session: Session, before: Path, after: Path, now: float) -> str:
    """Why traffic moved from one direct path to another, for the log."""
    if before not in session.paths or before.state is PathState.SUSPECT or is_silent(before, now):
        return "the one before fell silent"
    return "nearer" if after.private and not before.private else "faster"
