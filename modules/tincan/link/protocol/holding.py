"""Card frames of a peer that are held until the directory has confirmed its address: the newest, few, and not for long.

Memory is bounded for each session and for the node. What is older than a kernel would wait comes too late anyway.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Final, TypeAlias

from .block import MAX_BLOCK

MAX_HELD: Final = 64
MAX_HELD_BYTES: Final = MAX_BLOCK
"""Of one session: the longest frame has room."""
MAX_NODE_BYTES: Final = 16 * 1024 * 1024
MAX_HOLD: Final = 3.0

Frame: TypeAlias = tuple[int, int, bytes]
"""Offload, size, Ethernet frame."""


@dataclass(slots=True)
class Room:
    """Bytes that all sessions of a node hold together."""

    used: int = 0


class Held:
    """Frames of one session, oldest first. Times are seconds on one monotonic clock."""

    __slots__ = ("_bytes", "_frames", "_room")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._frames: deque[tuple[float, Frame]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def next_deadline(self) -> float:
        """When `expire` has something to do."""
        return self._frames[0][0] if self._frames else inf

    def add(self, frame: Frame, now: float) -> int:
        """Hold a frame, in the place of older ones if need be; returns how many were dropped, maybe itself."""
        length = len(frame[2])
        if self._room.used - self._bytes + length > MAX_NODE_BYTES or length > MAX_HELD_BYTES:
            return 1
        dropped = 0
        while len(self._frames) >= MAX_HELD or self._bytes + length > MAX_HELD_BYTES:
            self._pop()
            dropped += 1
        while self._room.used + length > MAX_NODE_BYTES:
            self._pop()
            dropped += 1
        self._frames.append((now + MAX_HOLD, frame))
        self._count(length)
        return dropped

    def expire(self, now: float) -> int:
        """Drop what was held too long; returns how many frames."""
        count = 0
        while self.next_deadline <= now:
            self._pop()
            count += 1
        return count

    def take(self) -> list[Frame]:
        """Take out all frames."""
        frames = [frame for _, frame in self._frames]
        self._frames.clear()
        self._count(-self._bytes)
        return frames

    def _pop(self) -> None:
        _, frame = self._frames.popleft()
        self._count(-len(frame[2]))

    def _count(self, length: int) -> None:
        self._bytes += length
        self._room.used += length
