"""The handler that every process of a node has: a log line never breaks or holds up the process that says it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TypeAlias

from ipop_core.clock import boot_clock
from ipop_modules.logger.outputs import Output
from ipop_modules.logger.recent import Recent
from ipop_modules.logger.repeats import Repeats
from ipop_modules.logger.tally import LEVELS, Tally

Render: TypeAlias = Callable[[logging.LogRecord, str], bytes]


class Writer(logging.Handler):
    def __init__(
        self,
        process: str,
        render: Render,
        output: Output,
        recent: Recent | None = None,
        tally: Tally | None = None,
    ) -> None:
        super().__init__()
        self._process = process
        self._render = render
        self._output = output
        self._recent = recent
        self._repeats = Repeats()
        self._tally = tally or Tally()
        self._untold = 0
        """Lines lost since one was written."""

    @property
    def counters(self) -> dict[str, int]:
        counts = self._tally.counts
        written = sum(counts[level] for level in LEVELS)
        return {"written": written, "repeated": counts["repeated"], "lost": counts["lost"]}

    def emit(self, record: logging.LogRecord) -> None:
        try:
            lines = self._repeats.see(record, boot_clock())
        except Exception:  # arguments that can't be compared, or don't fit their message
            lines = [record]
        if record not in lines:
            self._tally.add("repeated")
        for line in lines:
            self._write(line)

    def warn(self, message: str) -> None:
        """A line of the logger's own."""
        self.handle(_own_record(message))

    def flush(self) -> None:
        for line in self._repeats.settle():
            self._write(line)

    def close(self) -> None:
        self.flush()
        self._output.close()
        if self._recent is not None:
            self._recent.close()
        self._tally.close()
        super().close()

    def _write(self, record: logging.LogRecord) -> None:
        if self._recent is not None:
            with contextlib.suppress(Exception):  # it is a convenience; the log itself counts what it loses
                self._recent.add(record)
        try:
            if self._untold:
                self._output.write(self._render(_own_record(_lost(self._untold)), self._process))
                self._untold = 0
            self._output.write(self._render(record, self._process))
            self._tally.line(record.levelno)
        except Exception:  # whatever it is, there is nowhere to tell it
            self._tally.add("lost")
            self._untold += 1


def _lost(count: int) -> str:
    return f"{count} log line{'s were' if count > 1 else ' was'} lost here"


def _own_record(message: str) -> logging.LogRecord:
    return logging.LogRecord("ipop.logger", logging.WARNING, __file__, 0, message, (), None)
