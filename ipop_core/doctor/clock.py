"""This machine's clock: certificates and leases are judged by it."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator, Mapping
from typing import Final

from ipop_core.contract import Finding

SET_CLOCK: Final = "timedatectl set-ntp true"
TOLERANCE: Final = 86_400.0
"""Seconds by which a certificate may be ahead: its authority's clock may be."""
MOVED: Final = 60.0
"""Seconds by which a clock may be set while a node runs without a word about it."""
_STA_UNSYNC: Final = 0x0040


class _Timex(ctypes.Structure):
    """The front of `struct timex` (adjtimex(2)); the kernel writes all of its 208 bytes."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def examine_clock(stamps: Mapping[str, float]) -> Finding:
    """`stamps`: what was made, and when (Unix seconds): none of it in the future."""
    now = time.time()
    for name, made in stamps.items():
        if now < made - TOLERANCE:
            found = f"it says {_date(now)}, but {name} was made on {_date(made)}"
            return Finding(check="clock", verdict="bad", found=found, mend=SET_CLOCK)
    synchronized = is_synchronized()
    if synchronized is None:
        return Finding(check="clock", verdict="unknown", found="the kernel does not say whether it is kept right")
    if not synchronized:
        found = f"it says {_date(now)}, and nothing on this machine keeps it right"
        return Finding(check="clock", verdict="warning", found=found, mend=SET_CLOCK)
    return Finding(check="clock", verdict="good", found="kept right by a time server")


def examine_moves(seconds: float) -> Iterator[Finding]:
    """By how much the clock was set since the node started."""
    if abs(seconds) >= MOVED:
        way = "back" if seconds < 0 else "on"
        found = f"was set {way} by {abs(seconds):.0f} s since the node started, which judges new certificates by it"
        yield Finding(check="clock", verdict="warning", found=found, mend=SET_CLOCK)


def is_synchronized() -> bool | None:
    """Whether something disciplines the kernel's clock (adjtimex(2)); None where it may not be asked."""
    timex = _Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
        return None
    return not timex.status & _STA_UNSYNC


def _date(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))
