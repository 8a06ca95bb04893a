"""Notices when somebody sets this machine's clock: the kernel tells (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET).

Nothing that keeps links alive looks at the date. Certificates and log lines do, and whoever reads a log should know.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import time
from collections.abc import Callable
from typing import Final

from ipop_core.clock import boot_epoch

LEAST: Final = 1.0
"""Seconds; time servers move a clock by less all the time."""
_NEVER: Final = 2**40
"""Unix time at which the timer would end of itself."""
_TFD_TIMER_ABSTIME: Final = 1
_TFD_TIMER_CANCEL_ON_SET: Final = 2


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class ClockWatch:
    """Calls `moved` with the seconds by which the clock was set on, or back where they are negative."""

    def __init__(self, moved: Callable[[float], None]) -> None:
        self._moved = moved
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = -1
        self._epoch = boot_epoch()
        self.total = 0.0
        """Seconds by which it was moved since `start`."""

    def start(self) -> None:
        """Watch on the running loop. Where the kernel has no such timer, nothing is noticed."""
        self._descriptor = self._libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor >= 0:
            self._arm()
            asyncio.get_running_loop().add_reader(self._descriptor, self._was_set)

    def stop(self) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _arm(self) -> None:
        when = _Itimerspec(_Timespec(0, 0), _Timespec(_NEVER, 0))
        flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
        if self._libc.timerfd_settime(self._descriptor, flags, ctypes.byref(when), None) < 0:
            number = ctypes.get_errno()
            if number != errno.ECANCELED:
                raise OSError(number, os.strerror(number))

    def _was_set(self) -> None:
        with contextlib.suppress(OSError):  # ECANCELED is the news
            os.read(self._descriptor, 8)
        self._arm()
        epoch = boot_epoch()
        moved, self._epoch = epoch - self._epoch, epoch
        self.total += moved
        if abs(moved) >= LEAST:
            self._moved(moved)
