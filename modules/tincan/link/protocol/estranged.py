"""Peers that seal with keys which this node does not have: the two have lost each other's, and agree on others.

A handshake comes to its end at different times for its two sides. Where messages take seconds, one may begin to use
keys that the other has thrown away, for newer ones or in a restart; and as it goes on hearing the other, nothing tells
it. Anyone can send such blocks, under any address: so a peer that they seem to come from is greeted, now and then, and
that is all. What was sent before a change of keys and comes after it means nothing.
"""

from __future__ import annotations

from math import inf
from typing import Final

from ipop_core.token_bucket import TokenBucket

from .establish import Establishing
from .session import Session
from .source import Overlay, Source
from .state import State

LOOKS_A_SECOND: Final = 4.0
LOOKS_AT_ONCE: Final = 16.0
"""Blocks whose sender is looked for."""
GREET_AGAIN: Final = 5.0
"""Seconds between two greetings of one peer."""
LATE: Final = 1.0
"""Seconds after a change of keys in which blocks under those before may come."""


class Estranged:
    def __init__(self, state: State, establishing: Establishing) -> None:
        self._state: Final = state
        self._establishing: Final = establishing
        self._looks: Final = TokenBucket(LOOKS_A_SECOND, LOOKS_AT_ONCE, -inf)

    def came(self, source: Source, now: float) -> None:
        """A block under unknown keys came from there."""
        if isinstance(source, Overlay) and source.node not in self._state.sessions:
            return
        if not self._looks.take(now):
            return
        session = self._at(source)
        if session is None or session.keys is None:
            return
        if now < max(session.keys.pair.created + LATE, session.estranged + GREET_AGAIN):
            return
        session.estranged = now
        self._state.counters["keys_lost"] += 1
        self._establishing.start(session.node, None if isinstance(source, Overlay) else source, session.via, now)

    def _at(self, source: Source) -> Session | None:
        """The peer whose path in use leads there."""
        if isinstance(source, Overlay):
            session = self._state.sessions.get(source.node)
            return None if session is None or session.direct else session
        active = ((session, session.paths.active) for session in self._state.sessions.values())
        return next((session for session, path in active if path is not None and path.endpoint == source), None)
