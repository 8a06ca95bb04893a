"""No traffic before those who guard the card have said that nothing unprotected passes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from ipop_core.bus.api import Bus, JsonObject
from ipop_core.errors import BusError

log = logging.getLogger("ipop.tincan")

ANSWER_SECONDS: Final = 10.0
AGAIN_AFTER: Final = 0.05
"""Seconds; at start the link module is there before its guards."""
_NOT_YET: Final = ("no-role", "unknown-action", "timeout")


async def wait_for_guards(bus: Bus, roles: Iterable[str], card: JsonObject) -> None:
    """Return once each of these roles has answered `guard` for this card; one that refuses is asked again."""
    for role in roles:
        await _wait_for(bus, role, card)


async def _wait_for(bus: Bus, role: str, card: JsonObject) -> None:
    said = ""
    while True:
        try:
            await bus.request(role, "guard", card, timeout=ANSWER_SECONDS)
        except BusError as error:
            if error.code not in _NOT_YET and error.message != said:
                said = error.message
                log.warning("nothing passes the card: its guard refuses", extra={"fields": {"role": role, "why": said}})
            await asyncio.sleep(AGAIN_AFTER)
        else:
            return
