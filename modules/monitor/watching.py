"""Fills the board while somebody watches; while nobody does, it asks nothing and costs nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from ipop_core.bus.api import Bus, Event
from ipop_core.errors import BusError
from ipop_modules.monitor import picture
from ipop_modules.monitor.board import Board
from ipop_modules.monitor.figures import DRAWN, Figures, gather
from ipop_modules.monitor.survey import Survey

_log = logging.getLogger("ipop.monitor")

EVERY: Final = 1.0
"""Seconds between looks at this node, unless something happens."""
SOONEST: Final = 0.2
SURVEY_EVERY: Final = 4.0
LINES: Final = 60


class Watching:
    def __init__(self, bus: Bus) -> None:
        self.board = Board(self._watched)
        self._bus = bus
        self._survey = Survey(bus, self._draw)
        self._figures: Figures | None = None
        self._happened = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Hear of links that come and go."""
        for topic in ("link.*", "topology.*", "core.module"):
            await self._bus.subscribe(topic, self._on_event)

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    def _watched(self, watched: bool) -> None:
        self.stop()
        if watched:
            self._tasks = [asyncio.create_task(self._look()), asyncio.create_task(self._walk())]

    def _on_event(self, _: Event) -> None:
        self._happened.set()

    async def _look(self) -> None:
        while True:
            self._happened.clear()
            try:
                self._figures = await gather(self._bus, DRAWN, usage=False)
                lines = (await self._bus.request("logger", "recent", {"most": LINES})).body["lines"]
            except BusError as fault:
                _log.debug("no figures: %s", fault)
            else:
                self.board.put("head", picture.head(self._figures))
                self.board.put("peers", self._figures.peers)
                self.board.put("log", picture.log(lines))
                self._draw()
            await asyncio.sleep(SOONEST)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY - SOONEST):
                    await self._happened.wait()

    async def _walk(self) -> None:
        while True:
            await self._survey.walk()
            await asyncio.sleep(SURVEY_EVERY)

    def _draw(self) -> None:
        if self._figures is not None:
            self.board.put("ring", picture.ring(self._figures, self._survey.told))
