"""Requests to the links of a simulated node that wait for their end; `announcements.py` has them wait in a real one."""

from __future__ import annotations

from collections.abc import Hashable

from benchmarks.overlay_net.first_contact import Ended
from ipop_core.simulation import VirtualTime


class Waiting:
    """By what they wait for: a direct link to a node, or whoever answers at an endpoint."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self._by_key: dict[Hashable, list[Ended]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_key.values()))

    def add(self, key: Hashable, seconds: float, ended: Ended) -> None:
        """`ended` is told once, after so many seconds at the latest."""
        self._by_key.setdefault(key, []).append(ended)
        self._time.after(seconds, self._late, key, ended)

    def made(self, key: Hashable, node: bytes) -> None:
        for ended in self._by_key.pop(key, ()):
            ended(node, "")

    def failed(self, key: Hashable, reason: str) -> None:
        for ended in self._by_key.pop(key, ()):
            ended(None, reason)

    def _late(self, key: Hashable, ended: Ended) -> None:
        waiting = self._by_key.get(key, [])
        if ended in waiting:
            waiting.remove(ended)
            if not waiting:
                del self._by_key[key]
            ended(None, "no answer")
