"""Whom a node hands an overlay packet to, and where its way ends: the rules alone, which a simulation shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from . import overlay
from .overlay import Packet
from .routes import Routes, Step

Usable: TypeAlias = Callable[[bytes], bool]
"""Whether a packet may go over the direct link to a node."""


def next_step(
    routes: Routes, packet: Packet, preferred: Iterable[Usable], avoid: bytes | None = None
) -> tuple[Step | None, Packet]:
    """Whom to hand a packet to, and how it goes on; by what is usable of the first kind, else of the next.

    A node that is not in the ring yet names a neighbour that is. Where no sound link leads towards that one, the
    packet goes to its receiver by the ring, in which it may be by now.
    """
    ways = [packet] if packet.to_via is None else [packet, overlay.past_via(packet)]
    for usable in preferred:
        for way in ways:
            step = _step(routes, way, avoid, usable)
            if step is not None:
                return step, way
    return None, packet


def _step(routes: Routes, packet: Packet, avoid: bytes | None, linked: Usable) -> Step | None:
    def usable(node: bytes) -> bool:
        return node != avoid and linked(node)

    for node in (packet.to, packet.to_via):
        if node is not None and usable(node):
            return Step(node)
    target = packet.to if packet.to_via is None else packet.to_via
    return routes.step(target, usable, packet.mark, strict=packet.strict)


def carries(routes: Routes, packet: Packet, step: Step) -> bool:
    """Whether a packet of others is handed on: a node outside the ring has only those that its neighbours are for."""
    return routes.member or step.following == packet.to


def ends(routes: Routes, packet: Packet, *, is_own: bool) -> bool:
    """Whether this is the receiver of a packet for the nearest member, as there is no further step.

    One of others' that was to go by some node is for nobody before; of its own a node is, when it knows no way at all.
    """
    return packet.closest and routes.member and (is_own or packet.to_via is None)
