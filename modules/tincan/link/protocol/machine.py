"""The link machine: all sessions of this node, what arrives for them, and what they send.

Input is datagrams, wishes and the time; output is datagrams through the injected `Wire`, card frames through the
injected `deliver`, and events. It holds no socket and reads no clock, so a simulator runs it as it is. Blocks take
direct calls (no object is made for them beyond their buffers); everything rarer is told as an event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Final

from ipop_core.authority.revocation import RevocationList

from ...frames import BROADCAST, CARD, CONTROL, FRAME_HEADER, FRAME_HEADER_SIZE, RELAY, SEGMENT_MASK, SEGMENT_UDP
from . import control, overlay
from .answering import Answering
from .backlog import Load
from .block import MAX_BLOCK, Buffer
from .blocks import Blocks
from .card_traffic import CardTraffic, Deliver, DeliverTrain
from .certification import Certification
from .conversation import Conversation
from .courtesy import Courtesy
from .ending import say_farewell
from .estranged import Estranged
from .events import Endpoint
from .filtering import FilteringTest
from .handshake import Credentials
from .hearing import Hearing
from .lifecycle import Lifecycle
from .measuring import LifetimeTest
from .parting import Parting
from .probing import Probing
from .proving import Proving
from .relaying import Relaying
from .relays import Relays
from .searching import Limits, Search, Searching
from .seeking import Seeking
from .session import Counters, Keys, Session, SourceCheck
from .sizing import Sizing
from .source import Source
from .state import Node, State, Wire
from .unasked import Unasked
from .wire import ECHO, PARTS

__all__ = ["LinkMachine", "Node", "Wire"]


MAX_OTHERS: Final = 8
"""Frames in one block that are not the card's: each may become a send, and nobody sends more than one."""
MAX_CARD: Final = 256
"""Frames for the card in one block, a train counting as one: four times what is gathered (`lane.FRAMES_A_TURN`)."""

WORK_OF_OTHER: Final = 8
"""A frame that is not the card's, told in frames that are."""
WORK_OF_GREETING: Final = 32
"""A datagram that is no part of a block, which may be the beginning of a handshake."""


class LinkMachine:
    """All links of one node. `now` is in seconds on a clock that counts suspend; `random` gives that many bytes."""

    def __init__(
        self,
        node: Node,
        wire: Wire,
        deliver: Deliver,
        random: Callable[[int], bytes],
        *,
        limits: Limits | None = None,
        deliver_train: DeliverTrain = lambda _run, _refusal: 0,
    ) -> None:
        state = State(node, wire, random)
        self.own: Final = state.own
        self.sessions: Final = state.sessions
        self.counters: Final = state.counters
        self.other_versions: Final = state.other_versions
        self.events: Final = state.events
        """What happened since the adapter last took it."""
        self.mapping_lifetime: Final = state.lifetime
        self.stirred = False
        """More than packets came since the adapter last asked for `next_wake`: it may be earlier now."""
        self._state: Final = state
        self._work = 0
        """Of the receive that is being taken."""
        hearing = Hearing(state)
        self._blocks: Final = Blocks(state, self._opened, self._over_overlay, self._under_unknown_keys)
        self._relaying: Final = Relaying(state, self._blocks.send_straight, self._handed_over, hearing)
        self.routes: Final = self._relaying.routes
        self._seeking: Final = Seeking(state)
        courtesy = Courtesy()
        answering = Answering(state, self._blocks)
        self._probing: Final = Probing(state, self._blocks, self._seeking, courtesy, answering)
        self.searching: Final = Searching(state, self._blocks, limits or Limits())
        self._cards: Final = CardTraffic(state, self._blocks, deliver, deliver_train)
        self._certification: Final = Certification(state, self._blocks)
        self._proving: Final = Proving(state, self._blocks, self._cards, self._certification)
        self._sizing: Final = Sizing(state, self._blocks, answering)
        parting = self._parting = Parting(state, self._blocks)
        relays = Relays(state, self._blocks)
        self._unasked: Final = Unasked(state, self._blocks, courtesy)
        self.filtering: Final = FilteringTest(state, self._blocks, self._ask)
        self.lifetime: Final = LifetimeTest(state, self._blocks)
        self._conversation: Final = Conversation(
            state,
            self._blocks,
            probing=self._probing,
            proving=self._proving,
            certification=self._certification,
            sizing=self._sizing,
            relays=relays,
            unasked=self._unasked,
            filtering=self.filtering,
            lifetime=self.lifetime,
            parting=parting,
            hearing=hearing,
        )
        self._lifecycle: Final = Lifecycle(
            state,
            blocks=self._blocks,
            relaying=self._relaying,
            relays=relays,
            probing=self._probing,
            seeking=self._seeking,
            conversation=self._conversation,
            cards=self._cards,
            proving=self._proving,
            certification=self._certification,
            sizing=self._sizing,
            parting=parting,
        )
        self._establishing: Final = self._lifecycle.establishing
        self._estranged: Final = Estranged(state, self._establishing)

    def carried(self) -> Counters:
        """What all sessions have carried since the start, ended ones included."""
        return self._state.carried()

    def unfinished(self) -> tuple[int, int]:
        """Blocks of which a part has come, and the bytes that they are taken to use."""
        return self._blocks.unfinished

    # Links.

    def connect(self, node: bytes, kind: str, via: bytes | None, now: float) -> None:
        """Want a direct link to a node until `release`; a session is made over the overlay first."""
        session = self._state.session(node, now)
        session.kinds.add(kind)
        session.paths.welcome()
        if via is not None and not session.direct:
            session.via = via
        if self._lifecycle.ensure(node, now).keys is not None and not session.direct:
            self._seeking.seek(session, now)
        self._state.timers.plan(node, now)

    def contact(self, endpoint: Endpoint, node: bytes | None, now: float) -> None:
        """Shake hands with whoever listens at a UDP address; `node` where it must be that one."""
        self._establishing.start(node, endpoint, None, now)

    def want(self, node: bytes, kind: str, now: float) -> None:
        """Keep the link that is there for this reason, too."""
        session = self._state.session(node, now)
        session.kinds.add(kind)
        session.paths.welcome()
        self._state.timers.plan(node, now)

    def release(self, node: bytes, kind: str, now: float) -> None:
        """Want the link for this reason no more."""
        session = self.sessions.get(node)
        if session is not None:
            session.kinds.discard(kind)
            self._state.timers.plan(node, now)

    def turn_away(self, node: bytes, now: float) -> None:
        """Have the peer's packets go over the overlay, if nothing here wants a direct path."""
        session = self.sessions.get(node)
        if session is not None:
            self._parting.turn_away(session, now)

    def probe(
        self,
        node: bytes,
        candidates: Iterable[Endpoint],
        now: float,
        *,
        early: bool = False,
        search: Search | None = None,
        peer_is_able: bool = True,
    ) -> None:
        """Try these addresses of a peer under the session's keys; `early`: before the peer can know ours (probing.py).

        Where they come to nothing, begin the search, unless the peer says that it can't take part now.
        """
        self._probing.probe(node, candidates, now, early=early)
        session = self.sessions.get(node)
        if session is None or search is None or session.paths.away_until is not None:
            return
        if peer_is_able:
            self.searching.begin(session, *search, now)
        else:
            self.searching.call_off(node, now)

    def moved(self, now: float) -> None:
        """This node's own addresses changed: ask on every path, and have every peer told where this node is now."""
        self._seeking.moved(now)

    def mapped(self, now: float) -> None:
        """This node's router maps a port for it, or another one: have every peer told."""
        self._seeking.mapped(now)

    def endpoints(self) -> set[Endpoint]:
        """Every path that is known or searched for: what its local socket is still needed for."""
        known = {path.endpoint for session in self.sessions.values() for path in session.paths}
        tested = set() if self.lifetime.endpoint is None else {self.lifetime.endpoint}
        return known | set(self.searching.opened) | tested

    def close(self, now: float) -> None:
        """Tell every peer that this node goes, those over the overlay first: its neighbours still relay for it."""
        sessions = sorted(self.sessions.values(), key=lambda session: session.direct)
        for session in sessions:
            if session.keys is not None:
                say_farewell(self._blocks, session, now)
        for session in sessions:
            self._lifecycle.end(session, "stopped")

    def introduce(self, credentials: Credentials, now: float) -> None:
        """Show another certificate of the same key from now on: peers in session see it in a new handshake."""
        self._establishing.credentials = credentials
        for session in self.sessions.values():
            if session.keys is not None:
                path = session.paths.active
                self._establishing.start(session.node, None if path is None else path.endpoint, session.via, now)

    # Card frames.

    def send_card(self, node: bytes, frames: Buffer, now: float) -> None:
        """Carry a run of card frames (headers and all) to a member, at once or as soon as there is a session."""
        if not self._cards.send(node, frames, now):
            self.want_member(node, now)

    def send_cards(self, node: bytes, runs: Sequence[bytes], now: float) -> None:
        """As `send_card`, for runs that are to be a block each."""
        if not self._cards.send_each(node, runs, now):
            self.want_member(node, now)

    def send_group(self, node: bytes, frame: bytes, now: float) -> None:
        """Carry a BROADCAST frame (header and all) to a member, at once or as soon as there is a session."""
        session = self._lifecycle.ensure(node, now)
        session.carries_card = True
        if not session.member:
            self._proving.prove(session, now)
        self._cards.send_group(session, frame, now)

    def block_limit(self, node: bytes) -> int:
        """The most bytes of card frames that one block to this node should hold."""
        session = self.sessions.get(node)
        return MAX_BLOCK if session is None else session.block_limit

    def want_member(self, node: bytes, now: float) -> None:
        """Card frames for this node are about to come: agree on keys and prove membership."""
        session = self._lifecycle.ensure(node, now)
        session.carries_card = True
        self._proving.prove(session, now)
        self._cards.demand(session, now)

    def confirm_source(self, node: bytes, check: SourceCheck, now: float) -> None:
        """The peer's inner addresses are known to be its own: let its frames in, those that waited first."""
        session = self.sessions.get(node)
        if session is not None:
            self._cards.confirm_source(session, check, now)

    def refuse_source(self, node: bytes) -> None:
        """The peer's claim was not confirmed: what it sent meanwhile is dropped."""
        session = self.sessions.get(node)
        if session is not None:
            self._cards.refuse_source(session)

    # Messages.

    def send_role(self, node: bytes, role: str, data: bytes, now: float, *, direct_only: bool = False) -> bool:
        """Carry data to a role on another node, sealed end to end; False when it was dropped."""
        if direct_only and not self._state.is_linked(node):
            self.counters["drop_no_link"] += 1
            return False
        return self._conversation.send(self._lifecycle.ensure(node, now), control.RoleMessage(role, data), now)

    def send_routed(
        self, to: bytes, role: str, data: bytes, now: float, *, closest: bool, via: bytes | None = None
    ) -> bool:
        """Carry data hop by hop to a node, or to the ring member nearest to a key; False when it was dropped."""
        return self._relaying.send_message(to, role, data, now, closest=closest, via=via)

    def ping(self, node: bytes, now: float) -> bytes:
        """Ask for a round trip; PingAnswered bears the token that is returned."""
        return self._conversation.ping(self._lifecycle.ensure(node, now), now)

    def trace(self, node: bytes, hops: int, now: float) -> bytes:
        """Find out who is so many links away on the overlay's way to a node; TraceAnswered bears the token."""
        session = self._lifecycle.ensure(node, now)
        token = self._state.random(overlay.TOKEN_SIZE)
        self._relaying.send_trace(node, token, session.via, hops, now)
        return token

    # The authority.

    def learn_revocations(self, der: bytes, now: float) -> tuple[RevocationList, bool]:
        """Take a list of revoked certificates, and tell the members if it is news: the list, and whether it is.

        Raises BadRevocationList (ipop_core/authority/revocation.py).
        """
        return self._certification.learn(der, now)

    def is_given(self, address: bytes, node: bytes, certificate: bytes, now: float) -> bool:
        """Whether a certificate (DER) of the authority gives a node an address (packed), and is not revoked."""
        return self._certification.gives(certificate, node, address, now)

    def exchange_revocations(self, node: bytes, now: float) -> None:
        """Find out whether this node, a member, has newer lists or older ones: a session with it does that."""
        self._lifecycle.ensure(node, now)

    # The ring.

    def set_routes(self, routes: Mapping[bytes, bytes], *, member: bool) -> None:
        self.routes.replace(routes, member=member)

    def limit_relaying(self, mbps: float | None, now: float) -> None:
        """Carry at most so many megabits a second for strangers; None: as many as come."""
        self._relaying.hospitality.limit(mbps, now)

    def own_via(self) -> bytes | None:
        """How others reach this node while it is not in the ring: a neighbour that is."""
        return self._relaying.own_via()

    # What arrives.

    @property
    def receive_space(self) -> memoryview:
        """The buffer to receive into, from its beginning: from there whole blocks are taken in the shortest way."""
        return self._blocks.trains.space

    def receive(self, buffer: memoryview, segment: int, source: Source, now: float) -> int:
        """Take what one receive gave: datagrams of `segment` bytes, the last one at most that.

        Returns how much work that was: frames for the card, and the segments that UDP super-frames ask for.
        """
        self._work = 0
        for datagram in self._blocks.receive(buffer, segment, source, now):
            self.stirred = True
            self._work += WORK_OF_GREETING
            if datagram and datagram[0] in PARTS:
                self.counters["drop_bad_fragment"] += 1
            elif datagram and datagram[0] == ECHO:
                self.filtering.echoed(datagram)
            else:
                self._establishing.receive(datagram, source, now)
        return self._work

    def _handed_over(self, buffer: memoryview, segment: int, source: Source, now: float) -> None:
        """Take what came in a packet over the overlay, while the block is taken that it was in."""
        work = self._work
        self._work = work + self.receive(buffer, segment, source, now)

    def _under_unknown_keys(self, source: Source, now: float) -> None:
        self._estranged.came(source, now)

    def _opened(  # noqa: PLR0912, PLR0915 - one branch for each kind of frame
        self, session: Session, keys: Keys, view: memoryview, source: Source, now: float
    ) -> None:
        """Give every frame of a block to the part that it is for."""
        at, end = 0, len(view)
        cards = others = 0
        trains = True
        while at < end:
            start = at
            if at + FRAME_HEADER_SIZE > end:
                self.counters["drop_bad_frame"] += 1
                break
            kind, offload, size, length = FRAME_HEADER.unpack_from(view, at)
            at += FRAME_HEADER_SIZE
            body = view[at : at + length]
            at += length
            if at > end:
                self.counters["drop_bad_frame"] += 1
                break
            if kind == CARD:
                cards += 1
                if cards > MAX_CARD:
                    self.counters["drop_many_frames"] += 1
                    break
                if size and offload & SEGMENT_MASK == SEGMENT_UDP:
                    self._work += length // size
                # Most blocks hold one frame, or datagrams of one flow: a block is not searched further.
                taken = self._cards.received_train(session, view[start:]) if trains and at < end else 0
                trains = taken > 0
                if taken:
                    at = start + taken
                else:
                    self._cards.received(session, offload, size, body, now)
                continue
            others += 1
            self._work += WORK_OF_OTHER
            if others > MAX_OTHERS:
                self.counters["drop_many_frames"] += 1
                break
            if kind == RELAY:
                self._relaying.relayed(session, body, source, now)
            elif kind == BROADCAST:
                self.stirred = True
                self._cards.received_group(session, body, now)
            elif kind == CONTROL:
                self.stirred = True
                self._conversation.received(session, keys, body, source, now)
            else:
                self.counters["drop_unknown_frame"] += 1
            if (kind == CONTROL or at < end) and self.sessions.get(session.node) is not session:
                self.counters["drop_no_session"] += at < end
                break  # that frame, or what it carried, ended the session
        else:
            if cards and session.member:
                session.last_card = now
                if session.idle_told or not keys.pair.is_short_lived or session.paths.active is None:
                    self._cards.flows(session, keys, now)
        self._work += cards

    def _ask(self, node: bytes, message: control.AnyControl, now: float) -> None:
        self._conversation.send(self._lifecycle.ensure(node, now), message, now)

    def _over_overlay(self, node: bytes, datagram: bytes, via: bytes | None, load: Load, now: float) -> bool:
        return self._relaying.send_datagram(node, datagram, via, load, now)

    # Time.

    def wake(self, now: float) -> None:
        """Do what is due."""
        self._establishing.wake(now)
        self.searching.wake(now)
        self._certification.wake(now)
        for part in (self._unasked, self.filtering, self.lifetime):
            part.wake(now)
        for node in self._state.timers.due(now):
            session = self.sessions.get(node)
            if session is not None:
                self._lifecycle.tend(session, now)

    def next_timer(self) -> float:
        """When a session has something to do: all of `next_wake` that packets alone can make earlier."""
        return self._state.timers.next() or inf

    def next_wake(self) -> float | None:
        """When `wake` has something to do; None while nothing is planned."""
        self.stirred = False
        parts = (
            self._establishing,
            self.searching,
            self._certification,
            self._unasked,
            self.filtering,
            self.lifetime,
        )
        times = [self._state.timers.next(), *(part.next_wake() for part in parts)]
        return min((time for time in times if time is not None), default=None)
