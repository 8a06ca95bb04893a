"""The one timer of a machine: it wakes the machine when the machine asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Timer:
    def __init__(self, next_wake: Callable[[], float | None], wake: Callable[[float], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._next_wake = next_wake
        self._wake = wake
        self._handle: asyncio.TimerHandle | None = None

    def now(self) -> float:
        return self._loop.time()

    def set(self) -> None:
        """Ask the machine anew when it wants to be woken; to be called after every input."""
        self.cancel()
        due = self._next_wake()
        if due is not None:
            self._handle = self._loop.call_at(due, self._ring)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self) -> None:
        self._handle = None
        self._wake(self._loop.time())
        self.set()
