"""For how long the NAT in front of this node keeps a mapping that carries nothing: RFC 4787, section 4.3.

Measured by a flow of its own, so that no link is risked (RFC 5780, section 4.6): a datagram goes to a neighbour from a
further socket, and asks for one back after so many seconds (`unasked.py`). What comes, or does not, puts a bound to the
lifetime; a few steps are enough. Where it is short, keepalives come more often.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from . import control
from .blocks import Blocks
from .events import Endpoint
from .path import SHORTEST_KEEPALIVE
from .session import Session
from .state import State

STEPS: Final = (9, 18, 35, 70, 130)
"""Seconds. RFC 4787 asks for 120 at least; Linux and many home routers keep a mapping for 30."""
FIRST: Final = 1
GRACE: Final = 3.0
TRIES: Final = 5
BEGIN_AFTER: Final = 20.0
AGAIN_AFTER: Final = 30.0


@dataclass(slots=True)
class _Trial:
    step: int
    token: bytes
    node: bytes
    endpoint: Endpoint
    ends: float
    usual_keepalive: float
    """Of the path in use, by which the neighbour's word comes: it must not expire meanwhile."""
    sent: bool = False


class LifetimeTest:
    """One node's measurement, one step at a time."""

    def __init__(self, state: State, blocks: Blocks) -> None:
        self._state: Final = state
        self._blocks: Final = blocks
        self._step: int | None = None
        self._begins = inf
        self._left = 0
        self._trial: _Trial | None = None

    @property
    def endpoint(self) -> Endpoint | None:
        """The address that is asked, by way of the socket that must stay open meanwhile."""
        return None if self._trial is None else self._trial.endpoint

    def begin(self, now: float) -> None:
        """Measure anew: this node has come up, or to another router."""
        lifetime = self._state.lifetime
        lifetime.at_least = lifetime.at_most = None
        self._trial, self._step, self._left, self._begins = None, FIRST, TRIES, now + BEGIN_AFTER

    def answered(self, session: Session, answer: control.Knocked, now: float) -> bool:
        """The neighbour says that it has sent, or will not; False when this is no answer to this test."""
        trial = self._trial
        if trial is None or (trial.token, trial.node) != (answer.token, session.node):
            return False
        trial.sent, trial.ends = answer.sent, now + (GRACE if answer.sent else 0.0)
        return True

    def came(self, session: Session, token: bytes, now: float) -> bool:
        """The datagram came; False when it is not this test's."""
        trial = self._trial
        if trial is None or (trial.token, trial.node) != (token, session.node):
            return False
        self._state.lifetime.at_least = float(STEPS[trial.step])
        longer = self._state.lifetime.at_most is None and trial.step + 1 < len(STEPS)
        self._next(trial.step + 1 if longer else None, now)
        return True

    def wake(self, now: float) -> None:
        trial = self._trial
        if trial is not None:
            if now >= trial.ends:
                self._failed(trial, now)
        elif self._step is not None and now >= self._begins:
            self._try(self._step, now)

    def next_wake(self) -> float | None:
        if self._trial is not None:
            return self._trial.ends
        return None if self._step is None else self._begins

    def _failed(self, trial: _Trial, now: float) -> None:
        if not trial.sent:
            # Nothing was learnt: the neighbour would not, or has gone.
            self._left -= 1
            self._next(trial.step if self._left else None, now + AGAIN_AFTER)
            return
        lifetime = self._state.lifetime
        lifetime.at_most = float(STEPS[trial.step])
        self._next(trial.step - 1 if lifetime.at_least is None and trial.step else None, now)

    def _next(self, step: int | None, at: float) -> None:
        session = None if self._trial is None else self._state.sessions.get(self._trial.node)
        if self._trial is not None and session is not None:
            session.paths.keepalive = self._trial.usual_keepalive
        self._trial, self._step, self._begins = None, step, at

    def _try(self, step: int, now: float) -> None:
        for session in self._state.sessions.values():
            path, keys = session.paths.active, session.sending_keys()
            if path is None or keys is None or session.failing or path.private:
                continue
            if len(self._state.wire.address(path.endpoint)[0]) != 4:
                continue
            for endpoint in self._state.wire.branch(path.endpoint, 1):
                token = self._state.random(8)
                session.paths.reserve(endpoint)
                ends, usual = now + STEPS[step] + GRACE, session.paths.keepalive
                self._trial = _Trial(step, token, session.node, endpoint, ends, usual)
                session.paths.keepalive = SHORTEST_KEEPALIVE
                self._state.timers.plan(session.node, now)
                knock = control.Knock(token, b"", 0, STEPS[step], other_port=False)
                self._blocks.send_to(endpoint, keys, control.frame(knock))
                return
        self._begins = now + AGAIN_AFTER
