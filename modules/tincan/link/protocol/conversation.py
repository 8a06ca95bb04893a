"""Control messages between two nodes: what is sent now or waits for keys, and what each one that comes means."""

from __future__ import annotations

from typing import Final

from ipop_core.token_bucket import TokenBucket

from . import control
from .blocks import Blocks
from .certification import Certification
from .ending import end_session
from .events import PingAnswered, RoleData
from .filtering import FilteringTest
from .hearing import Hearing
from .measuring import LifetimeTest
from .parting import Parting
from .probing import Probing
from .proving import Proving
from .relays import Relays
from .session import MAX_WAITING_CONTROL, Keys, Session
from .sizing import Sizing
from .source import Overlay, Source
from .state import State
from .unasked import Unasked

MAX_PINGS: Final = 256
PONGS_A_SECOND: Final = 50.0
"""One peer's pings that are answered."""


class Conversation:
    """What one node says to its peers, and hears."""

    def __init__(
        self,
        state: State,
        blocks: Blocks,
        *,
        probing: Probing,
        proving: Proving,
        certification: Certification,
        sizing: Sizing,
        relays: Relays,
        unasked: Unasked,
        filtering: FilteringTest,
        lifetime: LifetimeTest,
        parting: Parting,
        hearing: Hearing,
    ) -> None:
        self._state: Final = state
        self._blocks: Final = blocks
        self._probing: Final = probing
        self._proving: Final = proving
        self._certification: Final = certification
        self._sizing: Final = sizing
        self._relays: Final = relays
        self._unasked: Final = unasked
        self._filtering: Final = filtering
        self._lifetime: Final = lifetime
        self._parting: Final = parting
        self._hearing: Final = hearing
        self._pings: Final[dict[bytes, tuple[bytes, float]]] = {}
        """By token, the node that was asked and when; in order of their times."""

    def send(self, session: Session, message: control.AnyControl, now: float) -> bool:
        """Send a message, now or when there are keys; False when it was dropped."""
        frame = control.frame(message)
        if session.keys is not None:
            return self._blocks.send(session, frame, now)
        if len(session.waiting_control) >= MAX_WAITING_CONTROL:
            self._state.counters["drop_waiting_full"] += 1
            return False
        session.waiting_control.append(frame)
        return True

    def flush(self, session: Session, now: float) -> None:
        """There are keys: send what waited for them."""
        while session.waiting_control and session.keys is not None:
            self._blocks.send(session, session.waiting_control.popleft(), now)

    def confirm(self, session: Session, keys: Keys, now: float) -> None:
        """Show the initiator of a handshake that this side has the keys."""
        self._blocks.send_under(session, keys, control.frame(control.Confirm()), now)

    def ping(self, session: Session, now: float) -> bytes:
        """Ask for a round trip; PingAnswered bears the token that is returned."""
        token = self._state.random(8)
        if len(self._pings) >= MAX_PINGS:
            self._pings.pop(next(iter(self._pings)))
        self._pings[token] = (session.node, now)
        self.send(session, control.Ping(token), now)
        return token

    def received(  # noqa: PLR0912, PLR0915 - one branch for each message
        self, session: Session, keys: Keys, body: memoryview, source: Source, now: float
    ) -> None:
        """Take the body of a CONTROL frame."""
        try:
            message = control.decode(body)
        except control.BadControl:
            self._state.counters["drop_bad_control"] += 1
            return
        match message:
            case control.Probe(token=token):
                self._probing.probed(session, keys, token, source, now)
            case control.ProbeAnswer():
                self._probing.answered(session, message, source, now)
            case control.RoleMessage(role=role, data=data):
                if self._hearing.admits(session, now):
                    self._state.events.append(RoleData(role, session.node, data))
                if not isinstance(source, Overlay):
                    self._state.owe(session, now)
            case control.Member():
                self._proving.proven(session, keys, message, now)
            case control.ProofWanted():
                self._proving.wanted(session, now)
            case control.Ping(token=token):
                self._pinged(session, token, source, now)
                session.unheard_since = None  # nothing answers an answer: else both sides would ask each other for ever
            case control.Pong():
                self._ponged(session, message, source, now)
            case control.Close():
                self._closed(session, keys, now)
            case control.LossReport():
                self._sizing.reported(session, keys, message, now)
            case control.SizeProbe(size=size):
                self._sizing.probed(session, keys, size, source, now, body=len(body))
            case control.SizeAnswer(size=size):
                self._sizing.answered(session, size, source, now)
            case control.Torn():
                self._sizing.torn(session, now)
            case control.Relays():
                self._relays.received(session, message, now)
            case control.Knock():
                self._unasked.asked(session, message, source, now)
            case control.Knocked():
                if not self._lifetime.answered(session, message, now):
                    self._filtering.answered(session, message, now)
            case control.Unasked(token=token):
                if not self._lifetime.came(session, token, now):
                    self._filtering.came(session, token, source, now)
            case control.CrlNumber() | control.CrlRequest() | control.CrlPiece():
                self._certification.received(session, message, now)
            case control.TurnedAway():
                self._parting.turned_away(session, now)
            case control.Unneeded():
                self._parting.told(session, now)
            case control.Confirm() | control.Heard():
                pass

    def _closed(self, session: Session, keys: Keys, now: float) -> None:
        """The peer goes. What it said before it greeted this node anew ends nothing: see whether it is there."""
        if session.is_outdated(keys):
            self._state.counters["drop_late_close"] += 1
            if session.direct:
                session.paths.ask()
                self._state.timers.plan(session.node, now)
            else:
                self.ping(session, now)
        else:
            end_session(self._state, self._blocks, session, "closed by peer")

    def _pinged(self, session: Session, token: bytes, source: Source, now: float) -> None:
        if session.pongs is None:
            session.pongs = TokenBucket(PONGS_A_SECOND, PONGS_A_SECOND, now)
        if not session.pongs.take(now):
            self._state.counters["drop_ping_limit"] += 1
            return
        hops = source.hops if isinstance(source, Overlay) else 1
        self.send(session, control.Pong(token, hops), now)

    def _ponged(self, session: Session, message: control.Pong, source: Source, now: float) -> None:
        node, sent = self._pings.pop(message.token, (b"", 0.0))
        if node != session.node:
            self._state.counters["drop_pong"] += 1
            return
        direct = not isinstance(source, Overlay)
        if not direct:
            session.overlay_rtt = now - sent
        self._state.events.append(PingAnswered(message.token, node, now - sent, direct, message.hops))
