"""The last lines of each process, wherever the log goes: for whoever looks at the running node.

Each process writes a file of its own in the node's run folder, so no two ever write to one: JSON lines, and before each
the moment when it was written, by a clock that nobody sets. When it is full it becomes the older of two, and the oldest
lines go.
"""

from __future__ import annotations

import heapq
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ipop_core.clock import boot_clock
from ipop_modules.logger.lines import json_line
from ipop_modules.logger.outputs import File

FOLDER: Final = "recent-log"
FULL: Final = 32_768
"""Bytes of one file; a process has two."""
LONGEST: Final = 2_000
"""Bytes. A longer line, such as one with a traceback, is left to the log itself."""


class Recent:
    """What one process writes."""

    def __init__(self, run: Path, process: str) -> None:
        """Raise ConfigError when its file can't be made."""
        folder = run / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        self._process = process
        self._path = folder / f"{process}.log"
        self._file = File(self._path)

    def add(self, record: logging.LogRecord) -> None:
        """Raises OSError when the line is lost."""
        line = b"%.6f %b" % (boot_clock(), json_line(record, self._process))
        if len(line) > LONGEST:
            return
        if self._path.stat().st_size + len(line) > FULL:
            self._path.replace(self._path.with_suffix(".old"))  # the file is opened anew by the next line
        self._file.write(line)

    def close(self) -> None:
        self._file.close()


def read_recent(run: Path, most: int) -> list[dict[str, Any]]:
    """The last lines of all processes, oldest first; a line that is being written just now is left out."""
    found = heapq.nlargest(most, _lines(run / FOLDER), key=lambda line: line[0])
    return [line for _, line in reversed(found)]


def _lines(folder: Path) -> Iterator[tuple[float, dict[str, Any]]]:
    for path in (*folder.glob("*.old"), *folder.glob("*.log")):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            moment, _, rest = line.partition(" ")
            try:
                at, read = float(moment), json.loads(rest)
            except ValueError:
                continue
            if isinstance(read, dict) and "time" in read:
                yield at, read
