"""The overlay: packets of this node's own, packets for it, and packets that it hands on to the next hop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from ...frames import FRAME_HEADER, RELAY
from . import overlay
from .events import RoleData
from .overlay import BadPacket, Packet
from .routes import Routes
from .session import Session
from .source import Overlay, Source
from .state import State

Send: TypeAlias = Callable[[Session, bytes, float], bool]
"""Sends (session, frames, now) over a link; False when they were dropped."""

Receive: TypeAlias = Callable[[memoryview, int, Source, float], None]
"""Takes (datagram, its size, where it came from, now) as if it had come by UDP."""


class Relaying:
    """All overlay packets that pass through one node."""

    def __init__(self, state: State, send: Send, receive: Receive) -> None:
        self._state: Final = state
        self._counters: Final = state.counters
        self._send: Final = send
        self._receive: Final = receive
        self.routes: Final = Routes(state.own)

    def own_via(self) -> bytes | None:
        """How others reach this node while it is not in the ring: a neighbour that is."""
        if self.routes.member:
            return None
        return self.routes.towards(self._state.own, self._state.is_linked)

    def send_datagram(self, node: bytes, datagram: bytes, via: bytes | None, now: float) -> bool:
        """Carry to a node what would travel in UDP on a direct path; False when it was dropped."""
        packet = Packet(node, self._state.own, overlay.DATAGRAM, datagram, False, via, self.own_via())
        return self._originate(packet, now)

    def send_message(self, to: bytes, role: str, data: bytes, now: float, *, closest: bool, via: bytes | None) -> bool:
        """Carry a role's data to a node, or to the ring member nearest to a key; False when it was dropped."""
        payload = overlay.encode_message(role, data)
        packet = Packet(to, self._state.own, overlay.MESSAGE, payload, closest, via, self.own_via())
        return self._originate(packet, now)

    def relayed(self, session: Session, body: memoryview, source: Source, now: float) -> None:
        """A neighbour handed over a packet: it is for us, or goes on."""
        if isinstance(source, Overlay):
            self._counters["drop_relay_not_link"] += 1
            return
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
        hop = self._next_hop(packet.to, packet.to_via)
        if hop is None or hop is session:
            self._no_further(packet, session, now)
        elif packet.hop_limit <= 1:
            self._counters["drop_hop_limit"] += 1
        elif not self.routes.member and hop.node != packet.to:
            self._counters["drop_not_in_ring"] += 1
        elif self._hand_on(hop, packet, now):
            self._counters["relayed"] += 1
            self._counters["relayed_bytes"] += len(body)

    def _originate(self, packet: Packet, now: float) -> bool:
        """Send a packet of our own; one that ends here is delivered."""
        hop = self._next_hop(packet.to, packet.to_via)
        if hop is not None:
            return self._hand_on(hop, packet, now)
        if packet.closest and self.routes.member:
            self._arrived(packet, self._state.own, now)
            return True
        self._counters["drop_no_route"] += 1
        return False

    def _next_hop(self, to: bytes, to_via: bytes | None) -> Session | None:
        sessions = self._state.sessions
        for node in (to, to_via):
            session = None if node is None else sessions.get(node)
            if session is not None and session.direct:
                return session
        following = self.routes.towards(to if to_via is None else to_via, self._state.is_linked)
        return None if following is None else sessions[following]

    def _no_further(self, packet: Packet, session: Session, now: float) -> None:
        if packet.closest and packet.to_via is None and self.routes.member:
            self._arrived(packet, session.node, now)
        else:
            self._counters["drop_no_route"] += 1

    def _hand_on(self, hop: Session, packet: Packet, now: float) -> bool:
        body = overlay.one_hop_on(packet)
        return self._send(hop, FRAME_HEADER.pack(RELAY, 0, 0, len(body)) + body, now)

    def _arrived(self, packet: Packet, link: bytes, now: float) -> None:
        """A packet's way ends here."""
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
        event = RoleData(role, packet.sender, data, packet.to, packet.from_via, link, packet.hops)
        self._state.events.append(event)
