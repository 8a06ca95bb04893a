"""The controller's pid file: whoever holds its lock is the one controller of the run folder.

The lock (flock) goes with the process, so what a killed controller leaves behind is never taken for a running one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

from ipop_core.errors import IpopError

PID_FILE: Final = "controller.pid"
TRIES: Final = 20
BETWEEN_TRIES: Final = 0.01
"""Seconds; whoever asks for the holder has the lock itself for an instant."""


class PidFile:
    """The lock, held until `close` or the end of the process.

    A forked child shares it and must `close` its own, or the lock outlives the controller.
    """

    def __init__(self, run: Path) -> None:
        """Take the lock. Raises IpopError when another controller holds it, or the file can't be written."""
        self.path = run / PID_FILE
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise IpopError(f"{self.path}: can't be opened: {error.strerror}") from None
        if not self._lock():
            os.close(self._descriptor)
            raise IpopError(f"{self.path}: a controller (pid {holder(run)}) runs this node already")
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def _lock(self) -> bool:
        for _ in range(TRIES):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            time.sleep(BETWEEN_TRIES)
        return False

    def close(self) -> None:
        """Let go of the descriptor. The lock ends when nobody has it open any more."""
        os.close(self._descriptor)


def holder(run: Path) -> int | None:
    """The pid of the live controller of this run folder, 0 when it has not written it yet, None when there is none."""
    try:
        descriptor = os.open(run / PID_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        digits = os.read(descriptor, 20).strip()
        return int(digits) if digits.isdigit() else 0
    finally:
        os.close(descriptor)
