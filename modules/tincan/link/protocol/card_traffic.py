"""Card frames, to members and from them: those that must wait, whether their source holds, and whether any still flow.

Hot: `send` runs for every block that goes out, and `received` for every card frame that comes in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from ...frames import Refusal
from . import control
from .block import Buffer
from .blocks import Blocks
from .events import CardIdle, DirectWanted, GroupFrame, Unplaced
from .holding import Frame
from .session import CARD_IDLE, PROOF_REPEAT, Keys, Session, SourceCheck
from .state import State

DEMAND_INTERVAL: Final = 2.0
UNPLACED_INTERVAL: Final = 1.0

Deliver: TypeAlias = Callable[[int, int, memoryview], bool]
"""Gives (offload, size, Ethernet frame) to the card; False when it was dropped."""

DeliverTrain: TypeAlias = Callable[[memoryview, Refusal], int]
"""Gives what belongs together at the beginning of a run of frames to the card; returns the bytes of it, often 0."""


class CardTraffic:
    """All card frames of one node."""

    def __init__(self, state: State, blocks: Blocks, deliver: Deliver, deliver_train: DeliverTrain) -> None:
        self._state: Final = state
        self._sessions: Final = state.sessions
        self._counters: Final = state.counters
        self._blocks: Final = blocks
        self._deliver: Final = deliver
        self._deliver_train: Final = deliver_train

    # Out.

    def send(self, node: bytes, frames: Buffer, now: float) -> bool:
        """Carry a run of card frames to a member; False when they have to wait until it has become one."""
        session = self._sessions.get(node) or self._state.session(node, now)
        session.last_card = now
        keys = session.keys
        if session.member and keys is not None:
            if session.idle_told or not keys.pair.is_short_lived or session.paths.active is None:
                self.flows(session, keys, now)
            self._blocks.send(session, frames, now)
            return True
        self._expire(session, now)
        if not session.waiting.add(bytes(frames), now):
            self._counters["drop_waiting_full"] += 1
        elif session.waiting.next_deadline is not None:
            self._state.timers.plan(node, session.waiting.next_deadline)
        return False

    def send_each(self, node: bytes, runs: Sequence[bytes], now: float) -> bool:
        """As `send`, for runs that are to be a block each."""
        session = self._sessions.get(node)
        if session is None or session.keys is None or not session.member:
            sent = [self.send(node, run, now) for run in runs]
            return all(sent)
        session.last_card = now
        self.flows(session, session.keys, now)
        self._blocks.send_each(session, runs, now)
        return True

    def send_group(self, session: Session, frame: bytes, now: float) -> None:
        """Carry a BROADCAST frame to a member, now or when it has proven to be one. It asks for no direct path."""
        if session.member and session.keys is not None:
            self._blocks.send(session, frame, now)
        elif session.waiting.add(frame, now):
            self._state.timers.plan(session.node, session.waiting.next_deadline or now)
        else:
            self._counters["drop_waiting_full"] += 1

    def flush(self, session: Session, now: float) -> None:
        """Send what waited, if there are keys and the peer is a member."""
        if session.keys is None or not session.member:
            return
        self._expire(session, now)
        while session.waiting:
            self._blocks.send(session, session.waiting.pop(), now)

    def flows(self, session: Session, keys: Keys, now: float) -> None:
        """Card frames flow: the keys live short, and a direct path is asked for."""
        keys.pair.note_card_traffic(now)
        if session.idle_told:
            session.idle_told = False
            self._state.timers.plan(session.node, now)
        self.demand(session, now)

    def demand(self, session: Session, now: float) -> None:
        """Ask for a direct path where there is none, now and then."""
        if not session.paths.active and now - session.demand_told >= DEMAND_INTERVAL:
            session.demand_told = now
            self._state.events.append(DirectWanted(session.node))

    # In.

    def received(self, session: Session, offload: int, size: int, frame: memoryview, now: float) -> None:
        """Take one frame: to the card, if the peer may use its source address."""
        source = session.source
        if source is not None and session.member:
            if refusal := source.refusal(frame):
                self._counters["drop_" + refusal] += 1
                self._unplaced(session, frame, now)
            elif not self._deliver(offload, size, frame):
                self._counters["drop_card"] += 1
        elif not session.member and not session.carries_card:
            self._counters["drop_not_member"] += 1
            self._ask_for_proof(session, now)
        else:
            self._hold(session, (offload, size, bytes(frame)), now)
            if session.member:
                self._unplaced(session, frame, now)
        if not session.member and session.carries_card:
            self._ask_for_proof(session, now)

    def received_train(self, session: Session, run: memoryview) -> int:
        """Take the frames at the beginning of a run that the card takes at once; returns their bytes."""
        source = session.source
        return self._deliver_train(run, source.refusal) if source is not None and session.member else 0

    def received_group(self, session: Session, body: memoryview, now: float) -> None:
        """Take a BROADCAST frame's body: members alone have a part in that."""
        if session.member:
            self._state.events.append(GroupFrame(session.node, bytes(body)))
        else:
            self._counters["drop_not_member"] += 1
            self._ask_for_proof(session, now)

    def proven(self, session: Session, now: float) -> None:
        """The peer is a member: what waited on either side goes on."""
        self.flush(session, now)
        if session.source is not None:
            self.confirm_source(session, session.source, now)

    def confirm_source(self, session: Session, check: SourceCheck, now: float) -> None:
        """The peer's inner addresses are known to be its own: let its frames in, those that waited first."""
        session.source = check
        self._expire(session, now)
        for offload, size, frame in session.held.take():
            self.received(session, offload, size, memoryview(frame), now)

    def _hold(self, session: Session, frame: Frame, now: float) -> None:
        self._expire(session, now)
        dropped = session.held.add(frame, now)
        if dropped:
            self._counters["drop_held_full"] += dropped
        if session.held:
            self._state.timers.plan(session.node, session.held.next_deadline)

    def _unplaced(self, session: Session, frame: memoryview, now: float) -> None:
        """Have the source address looked up: the peer may have got it since, or must register it again."""
        if now >= session.unplaced_told + UNPLACED_INTERVAL:
            session.unplaced_told = now
            self._state.events.append(Unplaced(session.node, bytes(frame)))

    def _ask_for_proof(self, session: Session, now: float) -> None:
        if now >= session.proof_asked + PROOF_REPEAT:
            session.proof_asked = now
            self._blocks.send(session, control.frame(control.ProofWanted()), now)

    def refuse_source(self, session: Session) -> None:
        """The peer's claim was not confirmed: what it sent meanwhile is dropped."""
        self._counters["drop_unconfirmed"] += len(session.held.take())

    # Time.

    def tend(self, session: Session, now: float) -> None:
        """Give up what has waited too long, and tell once that no card frames flow any more."""
        self._expire(session, now)
        if not session.idle_told and now >= session.last_card + CARD_IDLE:
            session.idle_told = True
            self._state.events.append(CardIdle(session.node))

    def _expire(self, session: Session, now: float) -> None:
        if session.waiting:
            self._counters["drop_waiting_late"] += session.waiting.expire(now)
        if session.held:
            self._counters["drop_held_late"] += session.held.expire(now)
