"""When a rendezvous is asked for: where a direct path is wanted and there is none, and anew when addresses change.

A peer's answers say at which address it sees this node. When that changes on a path that did not change, a router in
front of this node was restarted, or it forgot a mapping: offers that were made before name an address that is gone.
"""

from __future__ import annotations

from typing import Final

from .events import Endpoint, Observed, RendezvousWanted
from .path import KEEPALIVE
from .session import SEEK_AGAIN, SEEK_LONGEST, Session
from .state import State

ASK_AROUND_AGAIN: Final = 1.0


class Seeking:
    """The wishes for direct paths of one node."""

    def __init__(self, state: State) -> None:
        self._state: Final = state
        self._asked_around = 0.0

    def seek(self, session: Session, now: float) -> None:
        """Ask for a rendezvous, and again later if nothing comes of it."""
        self._state.events.append(RendezvousWanted(session.node))
        session.seek_at = now + session.seek_wait
        session.seek_wait = min(2 * session.seek_wait, SEEK_LONGEST)
        self._state.timers.plan(session.node, session.seek_at)

    def tend(self, session: Session, now: float) -> None:
        if session.wanted and session.keys is not None and not session.direct and now >= session.seek_at:
            self.seek(session, now)

    def found(self, session: Session) -> None:
        """There is a direct path."""
        session.seek_wait = SEEK_AGAIN

    def lost(self, session: Session, now: float) -> None:
        """The direct path is dead, or is about to be given up.

        The cause may be this node's router: other peers are asked where they see this node now.
        """
        session.seek_wait = SEEK_AGAIN
        if session.wanted:
            self.seek(session, now)
        if now - self._asked_around < ASK_AROUND_AGAIN:
            return
        self._asked_around = now
        for other in self._state.sessions.values():
            if other.direct:
                other.paths.ask()
                self._state.timers.plan(other.node, now)

    def moved(self, now: float) -> None:
        """This node's own addresses changed: whatever worked is asked again, and peers must learn of the new ones."""
        for session in self._state.sessions.values():
            session.paths.keepalive = KEEPALIVE
            session.paths.doubt(now)
            self._again(session, now, even_if_direct=True)
            self._state.timers.plan(session.node, now)

    def mapped(self, now: float) -> None:
        """There is one more address of this node's at which it can be reached."""
        for session in self._state.sessions.values():
            self._again(session, now, even_if_direct=True)

    def observed(self, session: Session, endpoint: Endpoint, ip: bytes, port: int, now: float) -> None:
        """The peer at `endpoint` sees this node at that address."""
        self._state.events.append(Observed(session.node, endpoint, ip, port))
        if session.paths.seen(endpoint, (ip, port)):
            self._state.counters["outer_address_changed"] += 1
            for other in self._state.sessions.values():
                self._again(other, now, even_if_direct=False)

    def _again(self, session: Session, now: float, *, even_if_direct: bool) -> None:
        if session.wanted and session.keys is not None and (even_if_direct or session.failing or not session.direct):
            session.seek_wait = SEEK_AGAIN
            self.seek(session, now)
