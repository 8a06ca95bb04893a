"""How lookups in the directory ended, and how long those took that went to it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Any, Final

from ipop_modules.topology.protocol.effects import Resolved

BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds. A lookup ends within 2.4 (protocol/lookup.py)."""


class LookupTally:
    def __init__(self) -> None:
        self._answers = Counter[str](dict.fromkeys(("own", "cache", "found", "absent", "unanswered"), 0))
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def add(self, resolved: Resolved) -> None:
        match resolved.source:
            case "own" | "cache":
                self._answers[resolved.source] += 1
                return
            case "none":
                self._answers["unanswered"] += 1
            case "directory":
                self._answers["absent" if resolved.node is None else "found"] += 1
        self._counts[bisect_left(BOUNDS, resolved.took)] += 1
        self._sum += resolved.took

    def show(self) -> dict[str, Any]:
        """As `status` tells it; `counts` has one more than `bounds`, for what took longer than the last."""
        latency = {"bounds": list(BOUNDS), "counts": list(self._counts), "sum": round(self._sum, 6)}
        return {"answers": dict(self._answers), "latency_s": latency}
