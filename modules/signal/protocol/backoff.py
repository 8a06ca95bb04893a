"""Exponential backoff with jitter: how long to wait after the nth failure in a row."""

from __future__ import annotations


def backoff(failures: int, random: float, *, shortest: float = 0.25, longest: float = 30.0) -> float:
    """Seconds to wait after `failures` failures (1 or more); `random` in [0, 1) takes away up to half of it."""
    doublings = min(failures - 1, 30)
    delay = min(longest, shortest * float(2**doublings))
    return delay * (1 - random / 2)
