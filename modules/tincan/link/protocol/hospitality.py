"""How much this node carries for strangers: a token bucket of bytes, where the operator has set a limit.

A stranger is whoever has not proven that it belongs to this node's namespace. What a packet says of its sender is only
a claim, so a packet counts as a stranger's unless the neighbour that hands it over, or the node that it is for, is a
proven member. The last quarter of the bucket is for messages of the ring and the directory, without which nobody finds
anybody; sealed datagrams, which carry the traffic, are dropped before.
"""

from __future__ import annotations

from typing import Final

from ipop_core.token_bucket import TokenBucket

from . import overlay
from .block import MAX_BLOCK
from .overlay import Packet
from .session import Session
from .state import State

BURST_SECONDS: Final = 0.25
SMALLEST_BURST: Final = 4.0 * MAX_BLOCK
"""Bytes: a packet holds up to one block."""
FOR_MESSAGES: Final = 0.25
BYTES_IN_MEGABIT: Final = 125_000.0


class Hospitality:
    """Counts the bytes of strangers; no limit until one is set."""

    def __init__(self, state: State) -> None:
        self._state: Final = state
        self._bucket: TokenBucket | None = None

    def limit(self, mbps: float | None, now: float) -> None:
        """Carry at most so many megabits a second for strangers from now on; None: as many as come."""
        if mbps is None:
            self._bucket = None
            return
        rate = mbps * BYTES_IN_MEGABIT
        self._bucket = TokenBucket(rate, max(BURST_SECONDS * rate, SMALLEST_BURST), now)

    def admits(self, neighbour: Session, packet: Packet, size: int, now: float) -> bool:
        """Whether a packet of `size` bytes that a neighbour handed over may go on; counts it."""
        bucket = self._bucket
        if bucket is None or neighbour.member or self._is_member(packet.to):
            return True
        leave = 0.0 if packet.content == overlay.MESSAGE else FOR_MESSAGES * bucket.size
        return bucket.take(now, size, leave=leave)

    def _is_member(self, node: bytes) -> bool:
        session = self._state.sessions.get(node)
        return session is not None and session.member
