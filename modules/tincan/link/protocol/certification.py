"""The authority's word on a session's peer: whether its certificate makes it a member, and whether it was revoked.

Joins the certificates that handshakes bring (`certificates.py`), the news of revoked ones (`revocation.py`) and the
sessions. Certificates are looked at again at every handshake, so one that has expired ends a membership at the next
rekey; one that is revoked ends the session at once, and no handshake with it makes another.
"""

from __future__ import annotations

from typing import Final

from ipop_core.authority.peers import BadCertificate, PeerCertificate, read_certificate
from ipop_core.authority.revocation import RevocationList
from ipop_core.authority.verifying import Verifier

from . import control
from .blocks import Blocks
from .ending import end_session, say_farewell
from .events import MemberProven, MemberRefused, RevocationsLearnt
from .revocation import Revocations
from .session import Session
from .state import State


class Certification:
    """All peers of one node, as the authorities of its namespace see them; there may be none."""

    def __init__(self, state: State, blocks: Blocks) -> None:
        self._state: Final = state
        self._blocks: Final = blocks
        namespace = state.node.namespace
        self._authorities: Final = () if namespace is None else namespace.authorities
        self._verifier: Final = Verifier(self._authorities)
        self._revocations: Final = Revocations(self._authorities, state.node.revocations)

    def is_revoked(self, certificate: PeerCertificate) -> bool:
        return self._revocations.revokes(certificate)

    def certify(self, session: Session, now: float) -> None:
        """A handshake brought a certificate."""
        certificate = session.certificate
        if not self._authorities or certificate is None:
            return
        try:
            self._verifier.verify(certificate, self._state.node.unix_time(), now)
        except BadCertificate as error:
            self._withdraw(session, error)
            return
        session.refusal = None
        if session.member and session.vouched != certificate.addresses:
            self._state.events.append(MemberProven(session.node))
        session.vouched = certificate.addresses
        self._revocations.greet(session.node, now)
        self._send(now)

    def gives(self, der: bytes, node: bytes, address: bytes, now: float) -> bool:
        """Whether a certificate (DER) that somebody showed is a node's, holds, and gives it an address (packed)."""
        try:
            certificate = read_certificate(der)
            self._verifier.verify(certificate, self._state.node.unix_time(), now)
        except BadCertificate:
            return False
        is_its_own = certificate.node == node and address in {given.packed for given in certificate.addresses}
        return is_its_own and not self.is_revoked(certificate)

    def vouches_for(self, session: Session) -> bool:
        """Whether a peer that proved to know the namespace is a member; says once why it is not."""
        if not self._authorities:
            return True
        if session.vouched is not None:
            return True
        self._state.counters["refused_member"] += 1
        error, session.refusal = session.refusal, None
        if error is not None:
            self._state.counters["refused_" + error.reason.replace("-", "_")] += 1
            self._state.events.append(MemberRefused(session.node, error.reason, str(error)))
        return False

    def learn(self, der: bytes, now: float) -> tuple[RevocationList, bool]:
        """Take a list of revoked certificates from this node's owner, as `Revocations.learn` does."""
        learnt = self._revocations.learn(der, now)
        self._follow(now)
        return learnt

    def received(
        self, session: Session, message: control.CrlNumber | control.CrlRequest | control.CrlPiece, now: float
    ) -> None:
        """A member speaks of lists."""
        self._revocations.received(session.node, message, now)
        self._follow(now)

    def wake(self, now: float) -> None:
        self._revocations.wake(now)
        self._send(now)

    def next_wake(self) -> float | None:
        return self._revocations.next_wake()

    def _withdraw(self, session: Session, error: BadCertificate) -> None:
        session.refusal = error
        session.member = False
        session.source = None
        session.vouched = None
        self._revocations.forget(session.node)

    def _follow(self, now: float) -> None:
        """Act on lists that are new: those whom they revoke go, the others are told."""
        learnt, self._revocations.learnt[:] = list(self._revocations.learnt), []
        if learnt:
            self._state.events.extend(RevocationsLearnt(item) for item in learnt)
            for session in list(self._state.sessions.values()):
                if session.certificate is not None and self.is_revoked(session.certificate):
                    self._revocations.forget(session.node)
                    say_farewell(self._blocks, session, now)
                    end_session(self._state, self._blocks, session, "revoked")
        self._send(now)

    def _send(self, now: float) -> None:
        outbox, self._revocations.outbox[:] = list(self._revocations.outbox), []
        for node, message in outbox:
            session = self._state.sessions.get(node)
            if session is None or session.keys is None:
                self._revocations.forget(node)
            else:
                self._blocks.send(session, control.frame(message), now)
