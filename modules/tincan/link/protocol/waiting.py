"""Card frames that wait for a session: a bounded queue, and what has waited too long is not worth sending any more."""

from __future__ import annotations

from collections import deque
from typing import Final

MAX_WAITING: Final = 256
MAX_WAITING_BYTES: Final = 512 * 1024
MAX_WAIT: Final = 3.0
"""Seconds, as long as a kernel holds packets for an unresolved neighbour; an answer to older ones comes too late."""


class Waiting:
    """Runs of card frames, oldest first. Times are seconds on one monotonic clock."""

    __slots__ = ("_bytes", "_runs")

    def __init__(self) -> None:
        self._runs: deque[tuple[float, bytes]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        return self._runs[0][0] if self._runs else None

    def add(self, frames: bytes, now: float) -> bool:
        """Queue a run; False when there is no room and it is dropped."""
        if len(self._runs) >= MAX_WAITING or self._bytes + len(frames) > MAX_WAITING_BYTES:
            return False
        self._runs.append((now + MAX_WAIT, frames))
        self._bytes += len(frames)
        return True

    def pop(self) -> bytes:
        """Take out the oldest run. Raises IndexError when there is none."""
        _, frames = self._runs.popleft()
        self._bytes -= len(frames)
        return frames

    def expire(self, now: float) -> int:
        """Drop what has waited too long; returns how many runs."""
        count = 0
        while self._runs and self._runs[0][0] <= now:
            self.pop()
            count += 1
        return count
