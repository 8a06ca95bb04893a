"""How many lines a process said, by level, in a small file of the node's run folder that the logger's module reads.

A count outlives its process: the next one of that name goes on where it ended.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
from pathlib import Path
from typing import Final

FOLDER: Final = "log-counts"
LEVELS: Final = ("debug", "info", "warning", "error")
"""Of lines written; `error` has what is worse, too."""
NAMES: Final = (*LEVELS, "repeated", "lost")
"""Repeated: lines that only a count stands for. Lost: lines that could not be written."""
_LAYOUT: Final = struct.Struct(f">{len(NAMES)}Q")
_LEAST: Final = ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info"))


class Tally:
    """What one process counts; where its file can't be had, for itself alone."""

    def __init__(self, run: Path | None = None, process: str = "") -> None:
        self.counts = dict.fromkeys(NAMES, 0)
        self._descriptor: int | None = None
        if run is not None:
            with contextlib.suppress(OSError):
                self._keep_in(run / FOLDER, process)

    def line(self, level: int) -> None:
        """A line of that level (as `logging` counts them) was written."""
        self.add(next((name for least, name in _LEAST if level >= least), "debug"))

    def add(self, name: str) -> None:
        self.counts[name] += 1
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # a full disk: the next one brings this one, too
                os.pwrite(self._descriptor, _LAYOUT.pack(*self.counts.values()), 0)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _keep_in(self, folder: Path, process: str) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._descriptor = os.open(folder / process, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.counts = _unpacked(os.pread(self._descriptor, _LAYOUT.size, 0))


def read_tallies(run: Path) -> dict[str, dict[str, int]]:
    """By process, the counts by name."""
    found = {}
    for path in sorted((run / FOLDER).glob("*")):
        with contextlib.suppress(OSError):
            found[path.name] = _unpacked(path.read_bytes())
    return found


def _unpacked(data: bytes) -> dict[str, int]:
    """All zero for a file that is new or another one."""
    counts = _LAYOUT.unpack(data) if len(data) == _LAYOUT.size else (0,) * len(NAMES)
    return dict(zip(NAMES, counts, strict=True))
