"""For whom the kernel wants keys: asks for them, and again while there are none, for the peer may not be ready yet.

The kernel says once that it holds packets for a peer and is silent for the 30 seconds after (xfrm_acq_expires), so a
wish is never lost: one for a peer who is being asked already begins its attempts anew, at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ipop_core.identity import Address

TRIES: Final = (0.5, 1.0, 2.0)
"""Seconds from one attempt to see whether another is needed."""

Attempt = Callable[[Address], Awaitable[None]]
IsOver = Callable[[Address], bool]


class Wishes:
    def __init__(self, attempt: Attempt, is_over: IsOver) -> None:
        """`is_over` says after a pause that no further attempt is to be made."""
        self._attempt = attempt
        self._is_over = is_over
        self._again: dict[Address, asyncio.Event] = {}
        self._tasks: dict[Address, asyncio.Task[None]] = {}

    def want(self, peer: Address) -> None:
        if peer in self._tasks:
            self._again[peer].set()
        else:
            self._again[peer] = asyncio.Event()
            self._tasks[peer] = asyncio.create_task(self._pursue(peer, self._again[peer]))

    async def give_up(self) -> set[Address]:
        """End all attempts; whose keys were wanted."""
        tasks, self._tasks, self._again = self._tasks, {}, {}
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        return set(tasks)

    async def _pursue(self, peer: Address, again: asyncio.Event) -> None:
        try:
            pauses = list(TRIES)
            while pauses:
                again.clear()
                await self._attempt(peer)
                try:
                    async with asyncio.timeout(pauses.pop(0)):
                        await again.wait()
                    pauses = list(TRIES)
                except TimeoutError:
                    if self._is_over(peer):
                        return
        finally:
            if self._again.get(peer) is again:
                del self._tasks[peer], self._again[peer]
