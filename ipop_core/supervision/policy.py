"""When a module's process is started again, and when it counts as dead. Pure: time is an argument."""

from __future__ import annotations

from typing import Final

FIRST_WAIT: Final = 0.05
LONGEST_WAIT: Final = 5.0
FORGIVEN_AFTER: Final = 30.0
"""Seconds of health after which earlier deaths no longer count."""

HEARTBEAT_EVERY: Final = 1.0
HEARTBEATS_MISSED: Final = 3


class RestartPolicy:
    """Exponential backoff: 50 ms, doubled with every death, at most five seconds."""

    def __init__(self) -> None:
        self._deaths = 0
        self._running_since: float | None = None

    def started(self, now: float) -> None:
        """The module serves its actions."""
        self._running_since = now

    def died(self, now: float) -> float:
        """The process ended unasked. Returns the seconds to wait before the next start."""
        if self._running_since is not None and now - self._running_since >= FORGIVEN_AFTER:
            self._deaths = 0
        self._running_since = None
        self._deaths += 1
        return float(min(FIRST_WAIT * 2 ** min(self._deaths - 1, 16), LONGEST_WAIT))


class Heartbeat:
    """Counts heartbeats without an answer."""

    def __init__(self) -> None:
        self._unanswered = 0

    def answered(self) -> None:
        self._unanswered = 0

    def beat(self) -> bool:
        """Time for the next heartbeat, every HEARTBEAT_EVERY seconds. False: too many are missing, the module hangs."""
        if self._unanswered >= HEARTBEATS_MISSED:
            return False
        self._unanswered += 1
        return True
