"""Signals and cleaning up: SIGTERM unwinds `with` blocks as Ctrl-C does, and neither cuts a clean-up short.

Python delivers signals to the main thread alone; in any other thread these do nothing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

_UNWINDING: Final = (signal.SIGTERM, signal.SIGHUP)
_DEFERRED: Final = (signal.SIGINT, *_UNWINDING)


@contextmanager
def termination_unwinds() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise SystemExit, with the exit code that a shell gives them, unless handled already."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in _UNWINDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _exit)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Hold SIGINT, SIGTERM and SIGHUP back until the block is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: arrived.append(number)) or signal.SIG_DFL
        for number in _DEFERRED
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for arrival in arrived:
            signal.raise_signal(arrival)


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
