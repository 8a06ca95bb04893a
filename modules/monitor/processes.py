"""Memory and CPU time of processes, as the kernel tells them (proc(5))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    memory: int
    """Bytes, proportional set size: of a page that n processes share, each has an n-th part."""
    cpu: float
    """Seconds, in user and kernel mode."""


def read_usage(pid: int) -> Usage | None:
    """None for a process that is gone, or another user's."""
    folder = Path("/proc") / str(pid)
    try:
        return Usage(_proportional((folder / "smaps_rollup").read_text()), _cpu((folder / "stat").read_text()))
    except (OSError, ValueError):
        return None


def _proportional(smaps: str) -> int:
    """Raises ValueError where there is no such line."""
    line = next((line for line in smaps.splitlines() if line.startswith("Pss:")), "")
    return int(line.removeprefix("Pss:").removesuffix("kB")) * 1024


def _cpu(stat: str) -> float:
    """Fields 14 and 15; the second, the program's name, may have spaces and brackets."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
