"""Who is a member of this node's namespace: proofs under a session's keys, and the authority's word if there is one."""

from __future__ import annotations

from typing import Final

from . import control
from .blocks import Blocks
from .card_traffic import CardTraffic
from .certification import Certification
from .events import MemberProven
from .membership import check_proof, make_proof
from .session import PROOF_REPEAT, PROOF_WANTED, Keys, Session
from .state import State


class Proving:
    """Proofs that this node gives and takes."""

    def __init__(self, state: State, blocks: Blocks, cards: CardTraffic, certification: Certification) -> None:
        self._state: Final = state
        self._blocks: Final = blocks
        self._cards: Final = cards
        self._certification: Final = certification

    def prove(self, session: Session, now: float, repeat: float = PROOF_REPEAT) -> None:
        """Show the peer that this node is a member; asked again within `repeat` seconds, it does nothing."""
        namespace, keys = self._state.node.namespace, session.sending_keys()
        if namespace is None or keys is None or now < keys.proof_sent + repeat:
            return
        keys.proof_sent = now
        proof = make_proof(namespace.key, keys.handshake_hash, by_initiator=keys.pair.is_initiator)
        self._blocks.send_under(session, keys, control.frame(control.Member(proof, not session.member)), now)

    def wanted(self, session: Session, now: float) -> None:
        """The peer asks for our proof: it gets one if we have, or had, card frames for it."""
        if session.carries_card:
            self.prove(session, now, PROOF_WANTED)

    def tend(self, session: Session, now: float) -> None:
        """Card frames wait for the peer's proof: it may have been lost, or ours."""
        if session.waiting and not session.member:
            self.prove(session, now)

    def proven(self, session: Session, keys: Keys, message: control.Member, now: float) -> None:
        """A peer's proof came: where it holds, card frames flow from now on."""
        proof = message.proof
        namespace = self._state.node.namespace
        by_initiator = not keys.pair.is_initiator
        if namespace is None or not check_proof(proof, namespace.key, keys.handshake_hash, by_initiator=by_initiator):
            self._state.counters["drop_not_member"] += 1
            return
        if not self._certification.vouches_for(session):
            return
        first = not session.member
        session.member = session.carries_card = True
        if message.wanted:
            self.prove(session, now, PROOF_WANTED)
        if first:
            self._state.events.append(MemberProven(session.node))
        self._cards.proven(session, now)
