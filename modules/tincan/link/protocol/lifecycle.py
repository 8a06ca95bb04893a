"""How sessions begin, are looked after, and come to their end."""

from __future__ import annotations

import re
from typing import Final

from ipop_core.authority.peers import PeerCertificate

from .backlog import Load
from .blocks import Blocks
from .card_traffic import CardTraffic
from .certification import Certification
from .conversation import Conversation
from .ending import end_session
from .establish import UNANSWERED, Establishing
from .events import ConnectFailed, Contacted, Endpoint, SessionUp
from .handshake import Established
from .keys import KeyPair
from .loss import BlockSizer
from .parting import Parting
from .path import Path
from .probing import Probing
from .proving import Proving
from .relaying import Relaying
from .relays import Relays
from .seeking import Seeking
from .session import ASK_AFTER, LEAVE_AFTER, LOST_AFTER, REKEY_AGAIN, Keys, Session
from .sizing import Sizing
from .source import Overlay, Source
from .state import State
from .timers import SHORTEST_WAIT
from .waiting import Waiting

MAX_SESSIONS: Final = 4096
MAX_OTHERS: Final = 32
"""Nodes of another version that are remembered."""
"""Beyond it no stranger's handshake makes a session; this node's own wishes still do."""


class Lifecycle:
    """All sessions of one node from handshake to end. It is what `Establishing` knows as its links."""

    def __init__(
        self,
        state: State,
        *,
        blocks: Blocks,
        relaying: Relaying,
        relays: Relays,
        probing: Probing,
        seeking: Seeking,
        conversation: Conversation,
        cards: CardTraffic,
        proving: Proving,
        certification: Certification,
        sizing: Sizing,
        parting: Parting,
    ) -> None:
        self._state: Final = state
        self._blocks: Final = blocks
        self._relaying: Final = relaying
        self._relays: Final = relays
        self._probing: Final = probing
        self._seeking: Final = seeking
        self._conversation: Final = conversation
        self._cards: Final = cards
        self._proving: Final = proving
        self._certification: Final = certification
        self._sizing: Final = sizing
        self._parting: Final = parting
        self.establishing: Final = Establishing(self, state.node.credentials, state.random)

    def ensure(self, node: bytes, now: float) -> Session:
        """The session with a node; where there are no keys yet, a handshake over the overlay is under way."""
        session = self._state.session(node, now)
        if session.keys is None:
            self.establishing.start(node, None, session.via, now)
        return session

    def tend(self, session: Session, now: float) -> None:
        """Do what is due for one session, and plan the next time."""
        for keys in session.expired_keys(now):
            self._blocks.refuse(keys)
        if session.rekey_due(now):
            session.rekey_again = now + REKEY_AGAIN
            path = session.paths.active
            self.establishing.start(session.node, None if path is None else path.endpoint, session.via, now)
        before = session.paths.active
        self._probing.tend(session, now)
        self._seek(session, before, now)
        self._relays.tend(session, now)
        self._sizing.tend(session, now)
        self._proving.tend(session, now)
        self._cards.tend(session, now)
        self._parting.tend(session, now)
        deadline = self._blocks.expire(session, now)
        if session.is_over(now):
            self.end(session, "idle")
            return
        times = [time for time in (session.next_wake(now), deadline) if time is not None]
        if times:
            self._state.timers.plan(session.node, max(min(times), now + SHORTEST_WAIT))

    def _seek(self, session: Session, before: Path | None, now: float) -> None:
        """Where a peer has gone silent: ask it over the overlay, and greet it anew, for it may have been restarted."""
        if session.keys is None or session.direct:
            return
        if before is not None:
            if not session.keep_alive(now):
                return  # nobody here needs the link, and who does on the other side greets us
            self.establishing.start(session.node, before.endpoint, None, now)
            self.establishing.start(session.node, None, session.via, now)
            return
        silent = 0.0 if session.unheard_since is None else now - session.unheard_since
        if silent >= LOST_AFTER:
            session.unheard_since = None
            self.establishing.start(session.node, None, session.via, now)
        elif silent >= LEAVE_AFTER and session.asked == 1:
            session.asked = 2
            self._relays.silent(session, now)
            self._conversation.ping(session, now)
        elif silent >= ASK_AFTER and session.asked == 0:
            session.asked = 1
            self._conversation.ping(session, now)

    def end(self, session: Session, reason: str) -> None:
        end_session(self._state, self._blocks, session, reason)

    # What handshakes need, and what comes of them.

    def established(self, agreed: Established, source: Source, rtt: float | None, begun: float, now: float) -> None:
        """Take the keys that a handshake agreed on."""
        state = self._state
        known = state.sessions.get(agreed.node)
        if known is None and not agreed.initiator and len(state.sessions) >= MAX_SESSIONS:
            state.counters["refused_too_many_sessions"] += 1
            return
        state.counters["handshakes"] += 1
        fresh = known is None or known.keys is None
        session = state.session(agreed.node, now)
        session.certificate = agreed.certificate
        session.release = agreed.release
        state.other_versions.pop(agreed.node, None)
        session.heard = now
        keys = self._take_keys(session, agreed, begun, now)
        before = session.paths.active
        if isinstance(source, Overlay):
            session.via, session.hops = source.via, source.hops
            session.overlay_rtt = session.overlay_rtt if rtt is None else rtt
        else:
            session.paths.establish(source, rtt, now)
            if agreed.observed is not None:
                self._seeking.observed(session, source, *agreed.observed, now)
            if agreed.initiator:
                state.events.append(Contacted(session.node, source))
        if fresh:
            state.events.append(SessionUp(session.node, session.hops if isinstance(source, Overlay) else None))
        self._probing.tell(session, before, now)
        if not agreed.initiator:
            self._conversation.confirm(session, keys, now)
        self._certification.certify(session, now)
        self._resume(session, now)

    def failed(self, node: bytes | None, endpoint: Endpoint | None, reason: str, now: float) -> None:
        """A handshake came to nothing; the session that it was for ends, unless another one may still make it."""
        self._state.counters["handshake_" + re.sub("[ -]", "_", reason)] += 1
        self._state.events.append(ConnectFailed(node, endpoint, reason))
        session = None if node is None else self._state.sessions.get(node)
        if session is None or self.establishing.is_under_way(session.node):
            return
        if session.keys is None or (not session.direct and now >= session.heard + LOST_AFTER):
            self._cards.tend(session, now)
            waiting = session.waiting
            if waiting and reason == UNANSWERED:
                session.waiting = Waiting()
                self.end(session, reason)
                self._greet_for(session.node, waiting, now)
            else:
                self.end(session, reason)

    def _greet_for(self, node: bytes, waiting: Waiting, now: float) -> None:
        """Card frames have come while a handshake was failing, and are not too late yet: greet the peer once more."""
        session = self.ensure(node, now)
        session.waiting, session.carries_card, session.last_card = waiting, True, now
        self._state.timers.plan(node, waiting.next_deadline or now)

    def transmit_datagram(
        self, datagram: bytes, endpoint: Endpoint | None, node: bytes | None, via: bytes | None, now: float
    ) -> None:
        """Send one handshake datagram, straight to an address or over the overlay to a node."""
        if endpoint is not None:
            self._state.transmit(endpoint, (datagram,))
        elif node is not None:
            self._relaying.send_datagram(node, datagram, via, Load.CONTROL, now)

    def source_address(self, source: Source) -> tuple[bytes, int] | None:
        """What to tell the sender about the address that we see it at."""
        return None if isinstance(source, Overlay) else self._state.wire.address(source)

    def confirm_again(self, rid: int, now: float) -> bool:
        """The initiator repeats its last handshake message: it has not heard us yet."""
        receiving = self._blocks.find(rid)
        if receiving is None:
            return False
        self._conversation.confirm(receiving.session, receiving.keys, now)
        return True

    def is_confirmed(self, rid: int) -> bool:
        receiving = self._blocks.find(rid)
        return receiving is None or receiving.keys.confirmed

    def rid_in_use(self, rid: int) -> bool:
        return self._blocks.find(rid) is not None

    def is_revoked(self, certificate: PeerCertificate) -> bool:
        return self._certification.is_revoked(certificate)

    def count(self, what: str) -> None:
        self._state.counters[what] += 1

    def speaks_otherwise(self, node: bytes, version: int) -> None:
        others = self._state.other_versions
        others.pop(node, None)
        others[node] = version
        if len(others) > MAX_OTHERS:
            del others[next(iter(others))]

    def _take_keys(self, session: Session, agreed: Established, begun: float, now: float) -> Keys:
        cipher = self._state.node.cipher
        pair = KeyPair(
            cipher(agreed.send_key),
            cipher(agreed.receive_key),
            agreed.local_rid,
            agreed.remote_rid,
            is_initiator=agreed.initiator,
            now=now,
        )
        before = session.sending_keys()
        sent = session.counters.blocks_out, session.counters.datagrams_out
        sizer = BlockSizer(now, None if before is None else before.sizer, sent)
        keys = Keys(pair, agreed.handshake_hash, not agreed.initiator, begun, sizer)
        self._blocks.accept(session, keys, now)
        for dropped in session.take_keys(keys, self._state.own):
            self._blocks.refuse(dropped)
        return keys

    def _resume(self, session: Session, now: float) -> None:
        """There are keys: go on with what waited for them."""
        if session.carries_card or session.member:
            self._proving.prove(session, now)
        self._conversation.flush(session, now)
        self._cards.flush(session, now)
        if session.wanted and not session.direct:
            self._seeking.seek(session, now)
        self._state.timers.plan(session.node, now)
