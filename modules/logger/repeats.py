"""Collapses a line that comes again and again into the line and a count."""

from __future__ import annotations

import logging
from typing import Final

from ipop_modules.logger.lines import fields_of

LONGEST_SILENCE: Final = 10.0
"""Seconds after which the count of a line that still repeats is written."""


class Repeats:
    def __init__(self) -> None:
        self._last: logging.LogRecord | None = None
        self._key: object = None
        self._count = 0
        self._since = 0.0

    def see(self, record: logging.LogRecord, now: float) -> list[logging.LogRecord]:
        """The records to write at `now` (seconds): perhaps a count of what came before, perhaps this one."""
        key = (record.name, record.levelno, record.msg, record.args, str(fields_of(record)), record.exc_info is None)
        if key != self._key or record.exc_info:
            lines = [*self.settle(), record]
            self._last, self._key, self._since = record, key, now
            return lines
        self._last = record
        self._count += 1
        if now - self._since < LONGEST_SILENCE:
            return []
        self._since = now
        return self.settle()

    def settle(self) -> list[logging.LogRecord]:
        """The count of what was held back, if anything was."""
        if self._last is None or self._count == 0:
            return []
        count, self._count = self._count, 0
        message = f"{self._last.getMessage()} (repeated {count} times)"
        return [logging.makeLogRecord({**self._last.__dict__, "msg": message, "args": (), "fields": None})]
