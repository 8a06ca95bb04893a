"""Turns away those that came when there are too many (`protocol/visitors.py`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from ipop_core.bus.api import Bus
from ipop_core.errors import BusError
from ipop_modules.topology.protocol.ring import Ring
from ipop_modules.topology.protocol.visitors import Use, room, too_many, visitors

_log = logging.getLogger(__name__)

LOOK_EVERY: Final = 2.0


class Visiting:
    def __init__(self, bus: Bus, ring: Ring, shortcuts: Callable[[], int]) -> None:
        """`shortcuts`: how many this node may have now."""
        self._bus = bus
        self._ring = ring
        self._shortcuts = shortcuts
        self.turned_away = 0

    async def keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            places = room(self._shortcuts())
            if len(self._ring.links) > places:
                await self._look(places)

    async def _look(self, places: int) -> None:
        came = visitors(self._ring.neighbours(), self._ring.links)
        if len(came) <= places:
            return
        try:
            peers = (await self._bus.request("link", "peers")).body["peers"]
        except BusError as fault:
            _log.debug("links are not known", extra={"fields": {"fault": str(fault)}})
            return
        uses = {
            bytes.fromhex(peer["node"]): Use(peer["bytes_out"], peer["age_s"], bool(peer["kinds"])) for peer in peers
        }
        for node in too_many(came, uses, places):
            self.turned_away += 1
            self._bus.notify("link", "turn_away", {"node": node.hex()})
