"""The link machine: all sessions of this node, what arrives for them, and what they send.

Input is datagrams, wishes and the time; output is datagrams through the injected `Wire`, card frames through the
injected `deliver`, and events. It holds no socket and reads no clock, so a simulator runs it as it is. Blocks take
direct calls (no object is made for them beyond their buffers); everything rarer is told as an event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import Final, Protocol, TypeAlias

from ipop_core.namespace import Namespace

from ...frames import CARD, CONTROL, FRAME_HEADER, FRAME_HEADER_SIZE, RELAY
from . import control, overlay
from .block import batches, cut
from .certificates import BadCertificate, verify_by_authority
from .establish import Establishing
from .events import (
    CardIdle,
    ConnectFailed,
    Contacted,
    DirectWanted,
    Endpoint,
    Event,
    LinkDown,
    LinkUp,
    MemberProven,
    Observed,
    PathChanged,
    PingAnswered,
    RendezvousWanted,
    RoleData,
    SessionClosed,
    SessionUp,
)
from .handshake import Credentials, Established
from .joining import Budget, Joiner, read_runs
from .keys import BadBlock, Cipher, KeyPair, KeysExhausted
from .membership import check_proof, make_proof
from .overlay import BadPacket, Packet
from .routes import Routes
from .session import MAX_WAITING, Keys, Session, SourceCheck, new_session
from .source import Overlay, Source
from .wire import FRAGMENT, FRAGMENT_HEADER

Buffer: TypeAlias = bytes | bytearray | memoryview

DATAGRAM_SIZE: Final = 1400
"""Fits a path of 1,500 bytes with IPv6, UDP and a tunnel of the provider's around it."""
MAX_HELD: Final = 64
MAX_SESSIONS: Final = 4096
DEMAND_INTERVAL: Final = 2.0


class Wire(Protocol):
    """The way out for datagrams: a UDP socket, or a simulated network."""

    def transmit(self, endpoint: Endpoint, buffers: Sequence[Buffer], segment: int) -> None:
        """Send what `buffers` hold together, cut every `segment` bytes; what can't be sent is dropped and counted."""
        ...

    def address(self, endpoint: Endpoint) -> tuple[bytes, int]:
        """The IP address (4 or 16 bytes) and port of an endpoint."""
        ...


Deliver: TypeAlias = Callable[[int, int, memoryview], bool]
"""Gives (offload, size, Ethernet frame) to the card."""


@dataclass(slots=True)
class Receiving:
    """What a receiver id of ours stands for."""

    session: Session
    keys: Keys
    joiner: Joiner


@dataclass(frozen=True, kw_only=True)
class Node:
    """What this node is, to others."""

    node: bytes
    credentials: Credentials
    namespace: Namespace | None
    cipher: Callable[[bytes], Cipher]
    unix_time: Callable[[], float]
    """For the dates of certificates."""


class LinkMachine:
    """All links of one node. `now` is in seconds on a clock that counts suspend; `random` gives that many bytes."""

    def __init__(self, node: Node, wire: Wire, deliver: Deliver, random: Callable[[int], bytes]) -> None:
        self.own: Final = node.node
        self._node: Final = node
        self._wire: Final = wire
        self._deliver = deliver
        self._random: Final = random
        self.sessions: Final[dict[bytes, Session]] = {}
        self.routes: Final = Routes(node.node)
        self.counters: Final[Counter[str]] = Counter()
        self.events: Final[list[Event]] = []
        """What happened since the adapter last took it."""
        self._by_rid: Final[dict[int, Receiving]] = {}
        self._budget: Final = Budget()
        self._pings: Final[dict[bytes, tuple[bytes, float]]] = {}
        self._timers: Final[list[tuple[float, int, bytes]]] = []
        self._wake_at: Final[dict[bytes, float]] = {}
        self._timer_count = 0
        self._establishing: Final = Establishing(self, node.credentials, random)

    # What the adapter asks for.

    def connect(self, node: bytes, kind: str, via: bytes | None, now: float) -> None:
        """Want a direct link to a node until `release`; a session is made over the overlay first."""
        session = self._session(node, now)
        session.kinds.add(kind)
        if via is not None and not session.direct:
            session.via = via
        if session.keys is None:
            self._establishing.start(node, None, session.via, now)
        elif not session.direct:
            self.events.append(RendezvousWanted(node))
        self._schedule(session, now)

    def contact(self, endpoint: Endpoint, node: bytes | None, now: float) -> None:
        """Shake hands with whoever listens at a UDP address; `node` where it must be that one."""
        self._establishing.start(node, endpoint, None, now)

    def want(self, node: bytes, kind: str, now: float) -> None:
        """Keep the link that is there for this reason, too."""
        session = self._session(node, now)
        session.kinds.add(kind)
        self._schedule(session, now)

    def release(self, node: bytes, kind: str, now: float) -> None:
        """Want the link for this reason no more."""
        session = self.sessions.get(node)
        if session is not None:
            session.kinds.discard(kind)
            self._schedule(session, now)

    def probe(self, node: bytes, candidates: Iterable[Endpoint], now: float) -> None:
        """Try these addresses of a peer under the session's keys."""
        session = self.sessions.get(node)
        if session is None or session.keys is None:
            self.counters["probe_no_session"] += 1
            return
        for endpoint in candidates:
            session.paths.add(endpoint, now)
        self._tend_paths(session, now)

    def confirm_source(self, node: bytes, check: SourceCheck, now: float) -> None:
        """The peer's inner addresses are known to be its own: let its frames in, those that waited first."""
        session = self.sessions.get(node)
        if session is None:
            return
        session.source = check
        held, session.held = session.held, type(session.held)()
        for offload, size, frame in held:
            self._card_frame(session, offload, size, memoryview(frame))

    def refuse_source(self, node: bytes) -> None:
        """The peer's claim was not confirmed: what it sent meanwhile is dropped."""
        session = self.sessions.get(node)
        if session is not None:
            self.counters["drop_unconfirmed"] += len(session.held)
            session.held.clear()

    def send_card(self, node: bytes, frames: Buffer, now: float) -> None:
        """Carry a run of card frames (headers and all) to a member, at once or as soon as there is a session."""
        session = self.sessions.get(node) or self._session(node, now)
        session.last_card = now
        if session.member and session.keys is not None:
            keys = session.keys
            if session.idle_told or not session.paths.active:
                self._card_flows(session, keys, now)
            self._send_block(session, frames, now)
            return
        if not session.queue(bytes(frames)):
            self.counters["drop_waiting_full"] += 1
        self.want_member(node, now)

    def want_member(self, node: bytes, now: float) -> None:
        """Card frames for this node are about to come: agree on keys and prove namespace."""
        session = self._session(node, now)
        if session.keys is None:
            session.carries_card = True
            self._establishing.start(node, None, session.via, now)
        elif not session.carries_card or not session.keys.proof_sent:
            session.carries_card = True
            self._prove(session, now)
        self._demand(session, now)

    def send_role(self, node: bytes, role: str, data: bytes, now: float, *, direct_only: bool = False) -> bool:
        """Carry data to a role on another node, sealed end to end; False when it was dropped."""
        session = self.sessions.get(node)
        if direct_only and (session is None or not session.direct):
            self.counters["drop_no_link"] += 1
            return False
        session = session or self._session(node, now)
        if session.keys is None:
            self._establishing.start(node, None, session.via, now)
        return self._control(session, control.RoleMessage(role, data), now)

    def send_routed(
        self, to: bytes, role: str, data: bytes, now: float, *, closest: bool, via: bytes | None = None
    ) -> bool:
        """Carry data hop by hop to a node, or to the ring member nearest to a key; False when it was dropped."""
        payload = overlay.encode_message(role, data)
        packet = Packet(to, self.own, overlay.MESSAGE, payload, closest, via, self.own_via())
        return self._originate(packet, now)

    def ping(self, node: bytes, now: float) -> bytes:
        """Ask for a round trip; PingAnswered bears the token that is returned."""
        token = self._random(8)
        if len(self._pings) >= 256:
            self._pings.pop(next(iter(self._pings)))
        self._pings[token] = (node, now)
        session = self._session(node, now)
        if session.keys is None:
            self._establishing.start(node, None, session.via, now)
        self._control(session, control.Ping(token), now)
        return token

    def set_routes(self, routes: Iterable[tuple[bytes, bytes]], *, member: bool) -> None:
        self.routes.replace(routes, member=member)

    def close(self, now: float) -> None:
        """Tell every peer that this node goes."""
        for session in list(self.sessions.values()):
            if session.keys is not None:
                self._control(session, control.Close(), now)
            self._close(session, "stopped")

    def own_via(self) -> bytes | None:
        """How others reach this node while it is not in the ring: a neighbour that is."""
        if self.routes.member:
            return None
        return self.routes.towards(self.own, self._usable)

    # What arrives.

    def receive(self, buffer: memoryview, segment: int, source: Source, now: float) -> None:
        """Take what one receive gave: datagrams of `segment` bytes, the last one at most that."""
        runs, others = read_runs(buffer, segment)
        for run in runs:
            receiving = self._by_rid.get(run.rid)
            if receiving is None:
                self.counters["drop_unknown_receiver"] += 1
                continue
            session = receiving.session
            if run.size != run.total and not isinstance(source, Overlay) and not session.paths.validated(source):
                self.counters["drop_fragment_unvalidated"] += 1
                continue
            sealed = receiving.joiner.add(run, now)
            if sealed is not None:
                self._open(receiving, run.number, sealed, source, now)
            elif receiving.joiner.next_deadline is not None:
                self._schedule(session, receiving.joiner.next_deadline)
        for datagram in others:
            if datagram and datagram[0] == FRAGMENT:
                self.counters["drop_bad_fragment"] += 1
            else:
                self._establishing.receive(datagram, source, now)

    def wake(self, now: float) -> None:
        """Do what is due."""
        self._establishing.wake(now)
        timers = self._timers
        while timers and timers[0][0] <= now:
            at, _, node = heappop(timers)
            session = self.sessions.get(node)
            if session is None or self._wake_at.get(node) != at:
                continue
            del self._wake_at[node]
            self._tend(session, now)

    def next_wake(self) -> float | None:
        """When `wake` has something to do; None while nothing is planned."""
        times = [time for time in (self._establishing.next_wake(),) if time is not None]
        if self._timers:
            times.append(self._timers[0][0])
        return min(times, default=None)

    # Sessions begin and end.

    def established(self, agreed: Established, source: Source, rtt: float | None, now: float) -> None:
        """Take the keys that a handshake agreed on (called by `Establishing`)."""
        fresh = agreed.node not in self.sessions or self.sessions[agreed.node].keys is None
        session = self._session(agreed.node, now)
        session.certificate = agreed.certificate
        session.capabilities = agreed.capabilities
        session.heard = now
        cipher = self._node.cipher
        pair = KeyPair(
            cipher(agreed.send_key),
            cipher(agreed.receive_key),
            agreed.local_rid,
            agreed.remote_rid,
            is_initiator=agreed.initiator,
            now=now,
        )
        keys = Keys(pair, agreed.handshake_hash, confirmed=not agreed.initiator)
        self._by_rid[pair.local_rid] = Receiving(session, keys, Joiner(pair.window.check, self._budget))
        for dropped in session.take_keys(keys, self.own, now):
            self._drop_keys(dropped)
        if agreed.observed is not None:
            self.events.append(Observed(agreed.node, *agreed.observed))
        before = session.paths.active
        if isinstance(source, Overlay):
            session.via, session.hops = source.via, source.hops
        else:
            session.paths.establish(source, rtt, now)
            if agreed.initiator:
                self.events.append(Contacted(session.node, source))
        if fresh:
            self.events.append(SessionUp(session.node, session.hops if isinstance(source, Overlay) else None))
        self._tell_paths(session, before)
        if not agreed.initiator:
            self._control_now(session, control.Confirm(), keys, now)
        if session.carries_card or session.member:
            self._prove(session, now)
        self._flush_control(session, now)
        self._flush_card(session, now)
        if session.wanted and not session.direct:
            self.events.append(RendezvousWanted(session.node))
        self._schedule(session, now)

    def failed(self, node: bytes | None, endpoint: Endpoint | None, reason: str) -> None:
        """A handshake came to nothing (called by `Establishing`)."""
        self.counters["handshake_" + reason.replace(" ", "_")] += 1
        self.events.append(ConnectFailed(node, endpoint, reason))
        session = None if node is None else self.sessions.get(node)
        if session is not None and session.keys is None:
            self.counters["drop_no_session"] += len(session.waiting) + len(session.waiting_control)
            self._close(session, reason)

    def transmit_datagram(
        self, datagram: bytes, endpoint: Endpoint | None, node: bytes | None, via: bytes | None, now: float
    ) -> None:
        """Send one handshake datagram, straight to an address or over the overlay to a node."""
        if endpoint is not None:
            self._wire.transmit(endpoint, (datagram,), len(datagram))
        elif node is not None:
            self._originate(Packet(node, self.own, overlay.DATAGRAM, datagram, False, via, self.own_via()), now)

    def source_address(self, source: Source) -> tuple[bytes, int] | None:
        """What to tell the sender about the address that we see it at."""
        return None if isinstance(source, Overlay) else self._wire.address(source)

    def confirm_again(self, rid: int, now: float) -> bool:
        """The initiator repeats its last handshake message: it has not heard us yet."""
        receiving = self._by_rid.get(rid)
        if receiving is None:
            return False
        self._control_now(receiving.session, control.Confirm(), receiving.keys, now)
        return True

    def is_confirmed(self, rid: int) -> bool:
        receiving = self._by_rid.get(rid)
        return receiving is None or receiving.keys.confirmed

    def count(self, what: str) -> None:
        self.counters[what] += 1

    def rid_in_use(self, rid: int) -> bool:
        return rid in self._by_rid

    # Blocks.

    def _open(self, receiving: Receiving, number: int, sealed: Buffer, source: Source, now: float) -> None:
        keys, session = receiving.keys, receiving.session
        if now >= keys.pair.refuse_at:
            self.counters["drop_old_keys"] += 1
            return
        try:
            plaintext = keys.pair.open(number, sealed)  # type: ignore[arg-type]  # any buffer serves
        except BadBlock as error:
            self.counters["drop_" + error.reason] += 1
            return
        session.heard = now
        session.counters.bytes_in += len(plaintext)
        session.counters.blocks_in += 1
        if isinstance(source, Overlay):
            session.hops, session.via = source.hops, source.via
        else:
            session.paths.heard(source, now)
        if not keys.confirmed:
            keys.confirmed = True
        self._frames(session, keys, memoryview(plaintext), source, now)

    def _frames(self, session: Session, keys: Keys, view: memoryview, source: Source, now: float) -> None:
        at, end = 0, len(view)
        card = False
        while at < end:
            if at + FRAME_HEADER_SIZE > end:
                self.counters["drop_bad_frame"] += 1
                return
            kind, offload, size, length = FRAME_HEADER.unpack_from(view, at)
            at += FRAME_HEADER_SIZE
            body = view[at : at + length]
            at += length
            if at > end:
                self.counters["drop_bad_frame"] += 1
                return
            if kind == CARD:
                card = True
                self._card_frame(session, offload, size, body)
            elif kind == RELAY:
                self._relayed(session, body, source, now)
            elif kind == CONTROL:
                self._controlled(session, keys, body, source, now)
            else:
                self.counters["drop_unknown_frame"] += 1
        if card and session.member:
            session.last_card = now
            self._card_flows(session, keys, now)

    def _card_frame(self, session: Session, offload: int, size: int, frame: memoryview) -> None:
        source = session.source
        if source is not None and session.member:
            if refusal := source.refusal(frame):
                self.counters["drop_" + refusal] += 1
            elif not self._deliver(offload, size, frame):
                self.counters["drop_card"] += 1
        elif not session.member:
            self.counters["drop_not_member"] += 1
        elif len(session.held) < MAX_HELD:
            session.held.append((offload, size, bytes(frame)))
        else:
            self.counters["drop_held_full"] += 1

    def _send_block(self, session: Session, frames: Buffer, now: float) -> bool:
        """Seal frames as one block and send it by the path in use; False when it was dropped."""
        keys = session.sending_keys()
        if keys is None:
            self.counters["drop_no_keys"] += 1
            return False
        return self._send_sealed(session, keys, frames, now)

    def _send_sealed(self, session: Session, keys: Keys, frames: Buffer, now: float) -> bool:
        pair = keys.pair
        if now >= pair.refuse_at:
            self.counters["drop_old_keys"] += 1
            return False
        try:
            number, sealed = pair.seal(frames)  # type: ignore[arg-type]  # any buffer serves
        except KeysExhausted:
            self.counters["drop_old_keys"] += 1
            return False
        session.counters.bytes_out += len(frames)
        session.counters.blocks_out += 1
        path = session.paths.active
        if path is None:
            header = FRAGMENT_HEADER.pack(FRAGMENT, pair.remote_rid, number, 0, len(sealed))
            packet = Packet(
                session.node, self.own, overlay.DATAGRAM, header + sealed, False, session.via, self.own_via()
            )
            return self._originate(packet, now)
        if path.waiting_since is None:
            path.waiting_since = now
            self._schedule(session, now + 1.0)
        transmit, endpoint = self._wire.transmit, path.endpoint
        for batch in batches(cut(sealed, pair.remote_rid, number, DATAGRAM_SIZE), DATAGRAM_SIZE):
            transmit(endpoint, batch, DATAGRAM_SIZE)
        return True

    # The overlay.

    def _usable(self, node: bytes) -> bool:
        session = self.sessions.get(node)
        return session is not None and session.direct

    def _next_hop(self, to: bytes, to_via: bytes | None) -> Session | None:
        for node in (to, to_via):
            session = None if node is None else self.sessions.get(node)
            if session is not None and session.direct:
                return session
        following = self.routes.towards(to if to_via is None else to_via, self._usable)
        return None if following is None else self.sessions[following]

    def _originate(self, packet: Packet, now: float) -> bool:
        """Send a packet of our own; one that ends here is delivered."""
        hop = self._next_hop(packet.to, packet.to_via)
        if hop is not None:
            return self._relay_frame(hop, overlay.one_hop_on(packet), now)
        if packet.closest and self.routes.member:
            self._arrived(packet, self.own, now)
            return True
        self.counters["drop_no_route"] += 1
        return False

    def _relayed(self, session: Session, body: memoryview, source: Source, now: float) -> None:
        """A neighbour handed over a packet: it is for us, or goes on."""
        if isinstance(source, Overlay):
            self.counters["drop_relay_not_link"] += 1
            return
        try:
            packet = overlay.decode(body)
        except BadPacket:
            self.counters["drop_bad_packet"] += 1
            return
        if packet.to == self.own:
            self._arrived(packet, session.node, now)
            return
        if packet.to_via == self.own:
            packet = overlay.past_via(packet)
        hop = self._next_hop(packet.to, packet.to_via)
        if hop is None or hop is session:
            self._no_further(packet, session, now)
        elif packet.hop_limit <= 1:
            self.counters["drop_hop_limit"] += 1
        elif not self.routes.member and hop.node != packet.to:
            self.counters["drop_not_in_ring"] += 1
        elif self._relay_frame(hop, overlay.one_hop_on(packet), now):
            self.counters["relayed"] += 1
            self.counters["relayed_bytes"] += len(body)

    def _no_further(self, packet: Packet, session: Session, now: float) -> None:
        if packet.closest and packet.to_via is None and self.routes.member:
            self._arrived(packet, session.node, now)
        else:
            self.counters["drop_no_route"] += 1

    def _relay_frame(self, hop: Session, body: bytes, now: float) -> bool:
        return self._send_block(hop, FRAME_HEADER.pack(RELAY, 0, 0, len(body)) + body, now)

    def _arrived(self, packet: Packet, link: bytes, now: float) -> None:
        """A packet's way ends here."""
        if packet.content == overlay.DATAGRAM:
            if packet.to != self.own or packet.sender == self.own:
                self.counters["drop_bad_packet"] += 1
                return
            view = memoryview(packet.payload)
            self.receive(view, len(view), Overlay(packet.sender, packet.from_via, link, packet.hops), now)
            return
        try:
            role, data = overlay.decode_message(packet.payload)
        except BadPacket:
            self.counters["drop_bad_packet"] += 1
            return
        self.events.append(RoleData(role, packet.sender, data, packet.to, packet.from_via, link, packet.hops))

    # Control messages.

    def _control(self, session: Session, message: control.AnyControl, now: float) -> bool:
        """Send a control message, now or when there are keys; False when it was dropped."""
        if session.keys is not None:
            return self._control_now(session, message, session.sending_keys() or session.keys, now)
        if len(session.waiting_control) >= MAX_WAITING:
            self.counters["drop_waiting_full"] += 1
            return False
        session.waiting_control.append(_control_frame(message))
        return True

    def _control_now(self, session: Session, message: control.AnyControl, keys: Keys, now: float) -> bool:
        return self._send_sealed(session, keys, _control_frame(message), now)

    def _controlled(self, session: Session, keys: Keys, body: memoryview, source: Source, now: float) -> None:
        try:
            message = control.decode(body)
        except control.BadControl:
            self.counters["drop_bad_control"] += 1
            return
        match message:
            case control.Probe(token=token):
                self._probed(session, keys, token, source, now)
            case control.ProbeAnswer():
                self._probe_answered(session, message, source, now)
            case control.RoleMessage(role=role, data=data):
                self.events.append(RoleData(role, session.node, data))
            case control.Member(proof=proof):
                self._proven(session, keys, proof, now)
            case control.Ping(token=token):
                hops = source.hops if isinstance(source, Overlay) else 1
                self._control(session, control.Pong(token, hops), now)
            case control.Pong():
                self._ponged(session, message, source, now)
            case control.Close():
                self._close(session, "closed by peer")
            case control.Confirm():
                pass

    def _probed(self, session: Session, keys: Keys, token: bytes, source: Source, now: float) -> None:
        if isinstance(source, Overlay):
            self.counters["drop_probe_over_overlay"] += 1
            return
        ip, port = self._wire.address(source)
        self._send_to(session, keys, control.ProbeAnswer(token, ip, port), source)
        session.paths.reflexive(source, now)
        self._schedule(session, now)

    def _probe_answered(self, session: Session, message: control.ProbeAnswer, source: Source, now: float) -> None:
        before = session.paths.active
        if isinstance(source, Overlay) or not session.paths.answered(message.token, source, now):
            self.counters["drop_probe_answer"] += 1
            return
        if message.ip:
            self.events.append(Observed(session.node, message.ip, message.port))
        self._tell_paths(session, before)

    def _send_to(self, session: Session, keys: Keys, message: control.AnyControl, endpoint: Endpoint) -> None:
        """Send a control message to one address, whatever path is in use."""
        number, sealed = keys.pair.seal(_control_frame(message))
        header = FRAGMENT_HEADER.pack(FRAGMENT, keys.pair.remote_rid, number, 0, len(sealed))
        self._wire.transmit(endpoint, (header, sealed), len(header) + len(sealed))

    def _ponged(self, session: Session, message: control.Pong, source: Source, now: float) -> None:
        node, sent = self._pings.pop(message.token, (b"", 0.0))
        if node != session.node:
            self.counters["drop_pong"] += 1
            return
        direct = not isinstance(source, Overlay)
        if not direct:
            session.overlay_rtt = now - sent
        self.events.append(PingAnswered(message.token, node, now - sent, direct, message.hops))

    # Membership.

    def _prove(self, session: Session, now: float) -> None:
        namespace, keys = self._node.namespace, session.keys
        if namespace is None or keys is None or keys.proof_sent:
            return
        keys.proof_sent = True
        proof = make_proof(namespace.key, keys.handshake_hash, by_initiator=keys.pair.is_initiator)
        self._control_now(session, control.Member(proof), keys, now)

    def _proven(self, session: Session, keys: Keys, proof: bytes, now: float) -> None:
        namespace = self._node.namespace
        by_initiator = not keys.pair.is_initiator
        if namespace is None or not check_proof(proof, namespace.key, keys.handshake_hash, by_initiator=by_initiator):
            self.counters["drop_not_member"] += 1
            return
        if namespace.authorities and not self._certified(session, namespace):
            self.counters["drop_not_certified"] += 1
            return
        first = not session.member
        session.member = session.carries_card = True
        self._prove(session, now)
        if first:
            self.events.append(MemberProven(session.node))
        self._flush_card(session, now)

    def _certified(self, session: Session, namespace: Namespace) -> bool:
        if session.certificate is None:
            return False
        try:
            verify_by_authority(session.certificate, namespace.authorities, self._node.unix_time())
        except BadCertificate:
            return False
        return True

    # Card traffic.

    def _card_flows(self, session: Session, keys: Keys, now: float) -> None:
        keys.pair.note_card_traffic(now)
        if session.idle_told:
            session.idle_told = False
            self._schedule(session, now)
        self._demand(session, now)

    def _demand(self, session: Session, now: float) -> None:
        if not session.paths.active and now - session.demand_told >= DEMAND_INTERVAL:
            session.demand_told = now
            self.events.append(DirectWanted(session.node))

    def _flush_control(self, session: Session, now: float) -> None:
        while session.waiting_control and session.keys is not None:
            self._send_block(session, session.waiting_control.popleft(), now)

    def _flush_card(self, session: Session, now: float) -> None:
        if session.keys is None or not session.member:
            return
        while session.waiting:
            frames = session.waiting.popleft()
            session.waiting_bytes -= len(frames)
            self._send_block(session, frames, now)

    # Time.

    def _session(self, node: bytes, now: float) -> Session:
        session = self.sessions.get(node)
        if session is None:
            session = self.sessions[node] = new_session(node, self._random, now)
            self._schedule(session, now + 1.0)
        return session

    def _schedule(self, session: Session, at: float) -> None:
        if at >= self._wake_at.get(session.node, inf):
            return
        self._wake_at[session.node] = at
        self._timer_count += 1
        heappush(self._timers, (at, self._timer_count, session.node))

    def _tend(self, session: Session, now: float) -> None:
        """Do what is due for one session, and plan the next time."""
        for keys in session.expired_keys(now):
            self._drop_keys(keys)
        if session.rekey_due(now):
            self._rekey(session, now)
        self._tend_paths(session, now)
        if not session.idle_told and now - session.last_card >= 60.0:
            session.idle_told = True
            self.events.append(CardIdle(session.node))
        deadline = self._expire_blocks(session, now)
        if self._is_over(session, now):
            self._close(session, "idle")
            return
        due = session.next_wake(now)
        if deadline is not None:
            due = deadline if due is None else min(due, deadline)
        if due is not None:
            self._schedule(session, max(due, now + 0.01))

    def _tend_paths(self, session: Session, now: float) -> None:
        before = session.paths.active
        probes = session.paths.wake(now, keep=session.keep_alive(now))
        keys = session.sending_keys()
        if keys is not None:
            for endpoint, token in probes:
                self._send_to(session, keys, control.Probe(token), endpoint)
        self._tell_paths(session, before)
        due = session.paths.next_wake(keep=session.keep_alive(now))
        if due is not None:
            self._schedule(session, max(due, now + 0.01))

    def _tell_paths(self, session: Session, before: object) -> None:
        """Tell the adapter what became of the path in use since `before`."""
        after = session.paths.active
        if after is before:
            return
        if after is None:
            self.events.append(LinkDown(session.node, "no answer"))
            if session.wanted:
                self.events.append(RendezvousWanted(session.node))
        elif before is None:
            initiator = session.keys is not None and session.keys.pair.is_initiator
            self.events.append(LinkUp(session.node, after.endpoint, initiator))
        else:
            self.events.append(PathChanged(session.node, after.endpoint))

    def _rekey(self, session: Session, now: float) -> None:
        path = session.paths.active
        self._establishing.start(session.node, None if path is None else path.endpoint, session.via, now)

    def _expire_blocks(self, session: Session, now: float) -> float | None:
        deadlines = []
        for keys in [*session.older, *([session.keys] if session.keys else [])]:
            receiving = self._by_rid.get(keys.pair.local_rid)
            if receiving is None:
                continue
            receiving.joiner.expire(now)
            if receiving.joiner.next_deadline is not None:
                deadlines.append(receiving.joiner.next_deadline)
        return min(deadlines, default=None)

    def _is_over(self, session: Session, now: float) -> bool:
        if session.wanted and session.keys is not None:
            return False
        quiet = now - max(session.heard, session.last_card, session.created)
        return quiet >= 120.0 or (session.keys is None and quiet >= 30.0)

    def _drop_keys(self, keys: Keys) -> None:
        receiving = self._by_rid.pop(keys.pair.local_rid, None)
        if receiving is not None:
            self.counters["blocks_lost"] += receiving.joiner.lost
            receiving.joiner.close()

    def _close(self, session: Session, reason: str) -> None:
        direct = session.direct
        for keys in [*session.older, *([session.keys] if session.keys else [])]:
            self._drop_keys(keys)
        session.keys = None
        session.older.clear()
        session.paths.drop_all()
        self.sessions.pop(session.node, None)
        self._wake_at.pop(session.node, None)
        if direct:
            self.events.append(LinkDown(session.node, reason))
        self.events.append(SessionClosed(session.node, reason))


def _control_frame(message: control.AnyControl) -> bytes:
    body = control.encode(message)
    return FRAME_HEADER.pack(CONTROL, 0, 0, len(body)) + body
