"""The overlay: packets of this node's own, packets for it, and packets that it hands on to the next hop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from ipop_core.token_bucket import TokenBucket

from . import forwarding, overlay
from .backlog import Load
from .events import RoleData, TraceAnswered
from .hearing import Hearing
from .hospitality import Hospitality
from .overlay import BadPacket, Packet
from .routes import Routes, Step
from .session import Session
from .source import Overlay, Source
from .state import State

TRACES_A_SECOND: Final = 20.0
"""Traced packets that one node answers."""

_DATAGRAMS: Final = Load.FORWARDED
_MESSAGES: Final = Load.FORWARDED_MESSAGE
"""What packets are that others hand over, whatever sender they name."""

Send: TypeAlias = Callable[[Session, bytes, Load, float], bool]
"""Sends (session, frames, what they are to this node, now) over a link; False when they were dropped."""

Receive: TypeAlias = Callable[[memoryview, int, Source, float], None]
"""Takes (datagram, its size, where it came from, now) as if it had come by UDP."""


class Relaying:
    """All overlay packets that pass through one node."""

    def __init__(self, state: State, send: Send, receive: Receive, hearing: Hearing) -> None:
        self._state: Final = state
        self._counters: Final = state.counters
        self._send: Final = send
        self._receive: Final = receive
        self._hearing: Final = hearing
        self.routes: Final = Routes(state.own)
        self.hospitality: Final = Hospitality(state)
        self._traces: Final = TokenBucket(TRACES_A_SECOND, TRACES_A_SECOND, 0.0)

    def own_via(self) -> bytes | None:
        """How others reach this node while it is not in the ring: a neighbour that is."""
        if self.routes.member:
            return None
        step = self.routes.step(self._state.own, self._state.is_linked)
        return None if step is None else step.following

    def _way_back(self, via: bytes | None) -> bytes | None:
        """The way back that a packet names: the neighbour that it goes through, as the ring may not lead here yet."""
        return via if via is not None and self._state.is_linked(via) else self.own_via()

    def send_datagram(self, node: bytes, datagram: bytes, via: bytes | None, load: Load, now: float) -> bool:
        """Carry to a node what would travel in UDP on a direct path; False when it was dropped. `load` is what it is.

        By the session's best relay, or by the ring; around the direct link with that node, if there still is one:
        whoever sends over the overlay has reason to.
        """
        packet = Packet(node, self._state.own, overlay.DATAGRAM, datagram, False, via, self._way_back(via))
        return self._send_by_relays(packet, load, now)

    def send_trace(self, node: bytes, token: bytes, via: bytes | None, hops: int, now: float) -> bool:
        """Have the node that is so many links away on a datagram's way say who it is; False when it was dropped."""
        way_back = self._way_back(via)
        packet = Packet(node, self._state.own, overlay.TRACE, token, False, via, way_back, hop_limit=hops + 1)
        return self._send_by_relays(packet, Load.CONTROL, now)

    def send_message(self, to: bytes, role: str, data: bytes, now: float, *, closest: bool, via: bytes | None) -> bool:
        """Carry a role's data to a node, or to the ring member nearest to a key; False when it was dropped."""
        payload = overlay.encode_message(role, data)
        packet = Packet(to, self._state.own, overlay.MESSAGE, payload, closest, via, self._way_back(via))
        return self._originate(packet, now)

    def relayed(self, session: Session, body: memoryview, source: Source, now: float) -> None:
        """A neighbour handed over a packet: it is for us, or goes on."""
        if isinstance(source, Overlay):
            self._counters["drop_relay_not_link"] += 1
            return
        if session.owed_since is None:
            self._state.owe(session, now)
        try:
            packet = overlay.decode(body)
        except BadPacket:
            self._counters["drop_bad_packet"] += 1
            return
        if packet.to == self._state.own:
            self._arrived(packet, session.node, now)
            return
        if packet.to_via == self._state.own:
            packet = overlay.past_via(packet)
        step, packet = self._next_step(packet)
        if step is None:
            self._no_further(packet, session, now)
        elif packet.hop_limit <= 1:
            self._hops_ended(packet, now)
        elif not forwarding.carries(self.routes, packet, step):
            self._counters["drop_not_in_ring"] += 1
        elif not self.hospitality.admits(session, packet, len(body), now):
            self._counters["drop_stranger_limit"] += 1
        elif self._hand_on(step, packet, _DATAGRAMS if packet.content == overlay.DATAGRAM else _MESSAGES, now):
            self._counters["relayed"] += 1
            self._counters["relayed_bytes"] += len(body)

    def _send_by_relays(self, packet: Packet, load: Load, now: float) -> bool:
        session = self._state.sessions.get(packet.to)
        if session is not None:
            for relay in session.relays:
                if self._state.is_sound(relay.node):
                    return self._hand_on(Step(relay.node), packet, load, now)
        around, onward = self._next_step(packet, avoid=packet.to)
        return self._originate(packet, now, load) if around is None else self._hand_on(around, onward, load, now)

    def _originate(self, packet: Packet, now: float, load: Load = Load.CONTROL) -> bool:
        """Send a packet of our own; one that ends here is delivered."""
        step, packet = self._next_step(packet)
        if step is not None:
            return self._hand_on(step, packet, load, now)
        if forwarding.ends(self.routes, packet, is_own=True):
            self._arrived(packet, self._state.own, now)
            return True
        self._counters["drop_no_route"] += 1
        return False

    def _next_step(self, packet: Packet, avoid: bytes | None = None) -> tuple[Step | None, Packet]:
        """Over a link that is failing only where there is no other."""
        return forwarding.next_step(self.routes, packet, (self._state.is_sound, self._state.is_linked), avoid)

    def _no_further(self, packet: Packet, session: Session, now: float) -> None:
        if forwarding.ends(self.routes, packet, is_own=False):
            self._arrived(packet, session.node, now)
        else:
            self._counters["drop_no_route"] += 1

    def _hand_on(self, step: Step, packet: Packet, load: Load, now: float) -> bool:
        onward = overlay.one_hop_on(packet, step.mark, strict=step.strict)
        return self._send(self._state.sessions[step.following], overlay.frame(onward), load, now)

    def _hops_ended(self, packet: Packet, now: float) -> None:
        if packet.content == overlay.TRACE:
            self._answer_trace(packet, now)
        else:
            self._counters["drop_hop_limit"] += 1

    def _answer_trace(self, packet: Packet, now: float) -> None:
        """Say that it was here that the packet came to its end: no more is said, and no more often than so."""
        if len(packet.payload) != overlay.TOKEN_SIZE:
            self._counters["drop_bad_packet"] += 1
        elif not self._traces.take(now):
            self._counters["drop_trace_limit"] += 1
        else:
            token = bytes(packet.payload)
            back = packet.from_via
            way_back = self._way_back(back)
            self._originate(Packet(packet.sender, self._state.own, overlay.TRACED, token, False, back, way_back), now)

    def _arrived(self, packet: Packet, link: bytes, now: float) -> None:
        """A packet's way ends here."""
        if packet.content == overlay.TRACE:
            self._answer_trace(packet, now)
            return
        if packet.content == overlay.TRACED:
            self._state.events.append(TraceAnswered(bytes(packet.payload), packet.sender))
            return
        if packet.content == overlay.DATAGRAM:
            if packet.to != self._state.own or packet.sender == self._state.own:
                self._counters["drop_bad_packet"] += 1
                return
            view = memoryview(packet.payload)
            self._receive(view, len(view), Overlay(packet.sender, packet.from_via, link, packet.hops), now)
            return
        try:
            role, data = overlay.decode_message(packet.payload)
        except BadPacket:
            self._counters["drop_bad_packet"] += 1
            return
        if self._hearing.admits_from(link, now):
            event = RoleData(role, packet.sender, data, packet.to, packet.from_via, link, packet.hops)
            self._state.events.append(event)
