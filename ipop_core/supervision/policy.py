"""When a module's process is started again, and when it counts as dead. Pure: time is an argument."""

from __future__ import annotations

from typing import Final

FIRST_WAIT: Final = 0.05
LONGEST_WAIT: Final = 5.0
FORGIVEN_AFTER: Final = 30.0
"""Seconds of health after which earlier deaths no longer count."""

HEARTBEAT_EVERY: Final = 1.0
HEARTBEATS_MISSED: Final = 3
START_LIMIT: Final = 15.0
"""Seconds from the fork until the module must have started."""
MOST_PATIENCE: Final = 8


class RestartPolicy:
    """Exponential backoff: 50 ms, doubled with every death, at most five seconds.

    A module that was killed since it seemed to hang may have been slow, as its machine is: it gets twice the time then,
    or what starts in 16 s would be killed after 15 for ever.
    """

    def __init__(self) -> None:
        self._deaths = 0
        self._patience = 1
        self._running_since: float | None = None

    def started(self, now: float) -> None:
        """The module serves its actions."""
        self._running_since = now

    @property
    def start_limit(self) -> float:
        """Seconds that the next start may take."""
        return START_LIMIT * self._patience

    def heartbeat(self) -> Heartbeat:
        """The heartbeats of a process that has started."""
        return Heartbeat(HEARTBEATS_MISSED * self._patience)

    def died(self, now: float, *, hung: bool = False) -> float:
        """The process ended unasked, or was killed as it hung. Returns the seconds to wait before the next start."""
        if self._running_since is not None and now - self._running_since >= FORGIVEN_AFTER:
            self._deaths, self._patience = 0, 1
        if hung:
            self._patience = min(2 * self._patience, MOST_PATIENCE)
        self._running_since = None
        self._deaths += 1
        return float(min(FIRST_WAIT * 2 ** min(self._deaths - 1, 16), LONGEST_WAIT))


class Heartbeat:
    """Counts heartbeats without an answer."""

    def __init__(self, most: int = HEARTBEATS_MISSED) -> None:
        """`most`: so many may be missing."""
        self._most = most
        self._unanswered = 0

    def answered(self) -> None:
        self._unanswered = 0

    def beat(self) -> bool:
        """Time for the next heartbeat, every HEARTBEAT_EVERY seconds. False: too many are missing, the module hangs."""
        if self._unanswered >= self._most:
            return False
        self._unanswered += 1
        return True
