"""Which neighbours carry a session's packets while it has no direct path: those that are nearest to both sides.

Greedy routing finds a way by ids, which know nothing of distances. So while card frames go over the overlay, both sides
tell each other, sealed end to end, which direct neighbours they have and how far those are. Each side hands its packets
to the neighbour in both lists with the least sum of the two round trips, and to the next one in that order as soon as
the link with the first is in doubt. Where the lists have nobody in common, packets go by the ring.

A side tells its list once the peer has proven its membership: by a quicker way, frames would overtake the proof.

A list is a member's word, and harms nobody but itself: it chooses only among this node's own neighbours, and for each
of those few no others are looked at.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from . import control
from .blocks import Blocks
from .session import Session
from .state import State

TELL_AGAIN: Final = 10.0
SOONEST: Final = 1.0
"""Seconds between two lists at least, when the relay in use is lost, or the peer asks."""
FLOWING: Final = 10.0
"""Card frames that went so many seconds ago are worth the two messages."""
MAX_TOLD: Final = 16
MAX_KEPT: Final = 4
BETTER: Final = 0.8
"""A relay in use stays until another one's round trip is under this part of its own."""
SHUNNED_FOR: Final = 60.0
MAX_SHUNNED: Final = 64


class Relay(NamedTuple):
    """A neighbour of both sides, and the round trip to the peer by way of it, in seconds."""

    node: bytes
    rtt: float


class Relays:
    """The relays of all sessions of one node."""

    def __init__(self, state: State, blocks: Blocks) -> None:
        self._state: Final = state
        self._blocks: Final = blocks
        self._shunned: Final[dict[bytes, float]] = {}
        """Neighbours over which a peer was not heard, and until when they get no session's packets."""

    def tend(self, session: Session, now: float) -> None:
        """Tell the peer this node's neighbours when that is due, or when the relay in use is lost."""
        if not session.member or session.direct or session.keys is None or now - session.last_card > FLOWING:
            return
        lost = bool(session.relays) and not self._state.is_sound(session.relays[0].node)
        if now - session.relays_told >= (SOONEST if lost else TELL_AGAIN):
            self._tell(session, now, wanted=True)

    def received(self, session: Session, told: control.Relays, now: float) -> None:
        """The peer told its neighbours: choose."""
        if not session.member:
            self._state.counters["drop_not_member"] += 1
            return
        shared = [
            Relay(node, rtt + micros / 1e6)
            for node, micros in told.neighbours
            if (rtt := self._round_trip(node, session.node)) is not None and self._shunned.get(node, now) <= now
        ]
        shared.sort(key=lambda relay: relay.rtt)
        used = session.relays[0].node if session.relays else None
        at = next((at for at, relay in enumerate(shared) if relay.node == used), 0)
        if at and shared[0].rtt > BETTER * shared[at].rtt:
            shared.insert(0, shared.pop(at))
        session.relays = tuple(shared[:MAX_KEPT])
        if told.wanted and now - session.relays_answered >= SOONEST:
            session.relays_answered = now
            self._tell(session, now, wanted=False)

    def silent(self, session: Session, now: float) -> None:
        """The peer was asked, and not heard: the fault may be the relay's, whose link with us is sound."""
        relay = next((relay for relay in session.relays if self._state.is_sound(relay.node)), None)
        if relay is None:
            return
        self._state.counters["relay_silent"] += 1
        self._shunned[relay.node] = now + SHUNNED_FOR
        if len(self._shunned) > MAX_SHUNNED:
            self._shunned.pop(next(iter(self._shunned)))
        session.relays = tuple(other for other in session.relays if other is not relay)

    def _tell(self, session: Session, now: float, *, wanted: bool) -> None:
        session.relays_told = now
        neighbours = sorted(self._neighbours(session.node), key=lambda known: known[1])[:MAX_TOLD]
        told = tuple((node, round(rtt * 1e6)) for node, rtt in neighbours)
        self._blocks.send(session, control.frame(control.Relays(told, wanted)), now)

    def _neighbours(self, but: bytes) -> list[tuple[bytes, float]]:
        """Direct links that nothing is wrong with, and their round trips; one that has none yet is asked."""
        return [(node, rtt) for node in self._state.sessions if (rtt := self._round_trip(node, but)) is not None]

    def _round_trip(self, node: bytes, but: bytes) -> float | None:
        """That of a direct link that nothing is wrong with."""
        session = self._state.sessions.get(node)
        path = None if session is None else session.paths.active
        if path is None or node == but or not self._state.is_sound(node):
            return None
        if path.rtt is None and not path.asked:
            path.asked = True
            self._state.timers.plan(node, 0.0)
        return path.rtt
