"""Direct links that neither side needs go: who needs one no more says so, and who does not need it either closes it.

Without that they would stay for as long as anybody's packets happen to pass by them. Who has said that it needs a link
no more sends nothing by it for others until the peer has had time to close it: the peer forgets the keys at once, and
what was still on its way would be lost.

A link that the peer alone needs can be turned away, where there are too many. The session goes on over the overlay, and
what still comes directly is taken. A peer that does not heed it gets no answers to its probes; where it makes a new
link by another handshake, it can be told again.
"""

from __future__ import annotations

from math import inf
from typing import Final

from . import control
from .blocks import Blocks
from .ending import end_session, say_farewell
from .events import LinkDown
from .session import Session
from .state import State

PATIENCE: Final = 15.0
"""Seconds for which a link that is not needed stays, as it may be needed for another reason soon."""
ANSWER: Final = 1.0
"""Seconds for which the peer may close it then. It does so at once, if it does: a round trip and some more."""
TURNED_AWAY: Final = 300.0
"""Seconds for which a peer gets no direct path then, unless this side wants one or the peer greets this node anew."""


class Parting:
    """The ends of one node's direct links."""

    def __init__(self, state: State, blocks: Blocks) -> None:
        self._state: Final = state
        self._blocks: Final = blocks

    def tend(self, session: Session, now: float) -> None:
        """Tell the peer once, when this side has not needed the link for a while."""
        if session.keep_alive(now):
            session.is_needed, session.is_parting, session.part_at = True, False, inf
        elif session.is_needed:
            session.is_needed, session.part_at = False, now + PATIENCE
        elif now >= session.part_at:
            session.is_parting = session.direct and not session.is_parting
            session.part_at = now + ANSWER if session.is_parting else inf
            if session.is_parting:
                self._blocks.send(session, control.frame(control.Unneeded()), now)

    def told(self, session: Session, now: float) -> None:
        """The peer does not need the link."""
        if session.direct and not session.keep_alive(now):
            say_farewell(self._blocks, session, now)
            end_session(self._state, self._blocks, session, "needed by neither side")

    def turn_away(self, session: Session, now: float) -> None:
        """Give up the direct path, if only the peer needs it."""
        if session.wanted or not session.direct:
            return
        self._state.counters["refused_direct_path"] += 1
        session.paths.turn_away(now + TURNED_AWAY)
        self._ended(session)
        self._blocks.send(session, control.frame(control.TurnedAway()), now)

    def turned_away(self, session: Session, now: float) -> None:
        """The peer has no room for the link: what wants it here asks again much later."""
        if session.direct:
            session.paths.drop_all()
            session.seek_at = now + TURNED_AWAY
            self._ended(session)
            self._state.timers.plan(session.node, now)

    def _ended(self, session: Session) -> None:
        self._state.events.append(LinkDown(session.node, "turned away"))
