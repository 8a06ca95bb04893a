"""The module: the lines are written by each process itself, so there is only its status to tell."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from ipop_core.bus.api import Call, JsonObject
from ipop_core.contract import ModuleContext
from ipop_core.errors import BusError
from ipop_modules.logger.recent import read_recent
from ipop_modules.logger.settings import Settings
from ipop_modules.logger.setup import installed_writer
from ipop_modules.logger.tally import LEVELS, read_tallies

_log = logging.getLogger("ipop.logger")


class Logger:
    def __init__(self, context: ModuleContext) -> None:
        self._bus = context.bus
        self._settings: Settings = context.settings
        self._run = context.run

    async def start(self) -> None:
        self._bus.serve("status", self._status)
        self._bus.serve("recent", self._recent)

    async def reconfigure(self, settings: Settings) -> None:
        """Every process is told by the role `core`, as `ipop log-level` has it done."""
        self._settings = settings
        await self._bus.request("core", "levels", {"level": settings.level})
        for module, level in settings.levels.items():
            try:
                await self._bus.request("core", "levels", {"module": module, "level": level})
            except BusError as fault:
                _log.warning("no level for this module: %s", fault.message)

    async def stop(self) -> None:
        """Leave the log be: the process may still have something to say."""

    async def _recent(self, call: Call) -> JsonObject:
        return {"lines": read_recent(self._run, call.body["most"])}

    async def _status(self, _: Call) -> JsonObject:
        writer = installed_writer()
        return {
            "to": self._settings.to,
            "format": self._settings.format,
            "levels": _levels(),
            "counters": writer.counters if writer else {"written": 0, "repeated": 0, "lost": 0},
            "lines": _lines(self._run),
        }


def _lines(run: Path) -> dict[str, int]:
    """What all processes counted."""
    total = Counter[str]()
    for counts in read_tallies(run).values():
        total.update(counts)
    return {name: count for name, count in total.items() if name in LEVELS or count}


def _levels() -> dict[str, str]:
    root = logging.getLogger()
    loggers = {name: logger for name, logger in root.manager.loggerDict.items() if isinstance(logger, logging.Logger)}
    own = {name: logger for name, logger in loggers.items() if name.startswith("ipop") and logger.level}
    return {name: logging.getLevelName(logger.level).lower() for name, logger in {"root": root, **own}.items()}
