"""A file that a running module keeps up to date, on a disk that may be full or read-only for a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ipop_core.errors import ConfigError
from ipop_core.files import write_private

RETRY: Final = 5.0


class KeptFile:
    """A fault is said once, and so is its end; meanwhile the module goes on."""

    def __init__(self, path: Path, what: str, log: logging.Logger, kept: Callable[[], None] = lambda: None) -> None:
        """`what` says in the log what the file holds, such as `known peers`; `kept` hears whenever it is written."""
        self.path: Final = path
        self._what: Final = what
        self._log: Final = log
        self._kept: Final = kept
        self._failing = False
        self._retry: asyncio.TimerHandle | None = None

    def keep(self, data: bytes) -> None:
        """Replace the file: now, or as soon as that can be done and nothing newer is to be kept."""
        self.close()
        try:
            write_private(self.path, data)
        except ConfigError as error:
            if not self._failing:
                self._log.warning("%s can't be kept on disk", self._what, extra={"fields": {"error": str(error)}})
            self._failing = True
            self._retry = asyncio.get_running_loop().call_later(RETRY, self.keep, data)
            return
        if self._failing:
            self._log.info("%s are kept on disk again", self._what)
            self._failing = False
        self._kept()

    def close(self) -> None:
        """Try no more."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
