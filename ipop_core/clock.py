"""The clock that all deadlines go by: it is never set, and goes on while the machine is suspended."""

from __future__ import annotations

import time


def boot_clock() -> float:
    """Seconds since the machine started (CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def unix_time_of(moment: float) -> float:
    """The date, in Unix seconds, that a moment of the boot clock has by this machine's clock as it is set now."""
    return moment + boot_epoch()


def boot_epoch() -> float:
    """Unix time when the boot clock showed 0; it changes when this machine's clock is set."""
    return time.time() - boot_clock()
