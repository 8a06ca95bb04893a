"""The direct paths of a session: which addresses are tried, and what becomes of the path in use (`path.py`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from . import control
from .blocks import Blocks
from .events import Endpoint, LinkDown, LinkUp, Observed, PathChanged, RendezvousWanted
from .path import Path
from .session import Keys, Session
from .source import Overlay, Source
from .state import State
from .timers import SHORTEST_WAIT


class Probing:
    """Probes that this node sends and answers, and what it tells of the paths."""

    def __init__(self, state: State, blocks: Blocks) -> None:
        self._state: Final = state
        self._blocks: Final = blocks

    def probe(self, node: bytes, candidates: Iterable[Endpoint], now: float) -> None:
        """Try these addresses of a peer under the session's keys."""
        session = self._state.sessions.get(node)
        if session is None or session.keys is None:
            self._state.counters["probe_no_session"] += 1
            return
        for endpoint in candidates:
            session.paths.add(endpoint, now)
        self.tend(session, now)

    def tend(self, session: Session, now: float) -> None:
        """Send the probes that are due, and plan the next."""
        before = session.paths.active
        probes = session.paths.wake(now, keep=session.keep_alive(now))
        keys = session.sending_keys()
        if keys is not None:
            for endpoint, token in probes:
                self._blocks.send_to(endpoint, keys, control.frame(control.Probe(token)))
        self.tell(session, before)
        due = session.paths.next_wake(keep=session.keep_alive(now))
        if due is not None:
            self._state.timers.plan(session.node, max(due, now + SHORTEST_WAIT))

    def probed(self, session: Session, keys: Keys, token: bytes, source: Source, now: float) -> None:
        """A probe came: answer it where it came from, and try that address too."""
        if isinstance(source, Overlay):
            self._state.counters["drop_probe_over_overlay"] += 1
            return
        ip, port = self._state.wire.address(source)
        self._blocks.send_to(source, keys, control.frame(control.ProbeAnswer(token, ip, port)))
        session.paths.reflexive(source, now)
        self._state.timers.plan(session.node, now)

    def answered(self, session: Session, answer: control.ProbeAnswer, source: Source, now: float) -> None:
        """A probe's answer came."""
        before = session.paths.active
        if isinstance(source, Overlay) or not session.paths.answered(answer.token, source, now):
            self._state.counters["drop_probe_answer"] += 1
            return
        if answer.ip:
            self._state.events.append(Observed(session.node, answer.ip, answer.port))
        self.tell(session, before)

    def tell(self, session: Session, before: Path | None) -> None:
        """Tell the adapter what became of the path in use since `before`."""
        after, events = session.paths.active, self._state.events
        if after is before:
            return
        if after is None:
            events.append(LinkDown(session.node, "no answer"))
            if session.wanted:
                events.append(RendezvousWanted(session.node))
        elif before is None:
            initiator = session.keys is not None and session.keys.pair.is_initiator
            events.append(LinkUp(session.node, after.endpoint, initiator))
        else:
            events.append(PathChanged(session.node, after.endpoint))
