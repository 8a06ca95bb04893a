"""How many messages to roles are heard: each becomes a message on the bus, and has another process look at it.

What comes in a session counts for the peer. The sender that a routed message names is only a claim, so what comes that
way counts for the neighbour that handed it over. The first of each are many: a neighbour that has been told of another
ring hands over thousands of records, sixteen in each message.
"""

from __future__ import annotations

from typing import Final

from ipop_core.token_bucket import TokenBucket

from .session import Session
from .state import State

SAID_A_SECOND: Final = 100.0
SAID_AT_ONCE: Final = 1000.0
HANDED_A_SECOND: Final = 500.0
HANDED_AT_ONCE: Final = 2000.0
"""While two rings of 100 became one, nobody had to say more than 15 at once or to hand over more than 3."""


class Hearing:
    """What is too much is counted and dropped."""

    def __init__(self, state: State) -> None:
        self._state: Final = state

    def admits(self, session: Session, now: float) -> bool:
        """Whether one more message that the peer says is heard."""
        if session.said is None:
            session.said = TokenBucket(SAID_A_SECOND, SAID_AT_ONCE, now)
        return self._take(session.said, now)

    def admits_from(self, link: bytes, now: float) -> bool:
        """Whether one more is heard that a neighbour hands over; this node's own always are."""
        session = self._state.sessions.get(link)
        if session is None:
            return True
        if session.handed is None:
            session.handed = TokenBucket(HANDED_A_SECOND, HANDED_AT_ONCE, now)
        return self._take(session.handed, now)

    def _take(self, bucket: TokenBucket, now: float) -> bool:
        if bucket.take(now):
            return True
        self._state.counters["drop_role_limit"] += 1
        return False
