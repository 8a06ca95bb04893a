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
SILENT_AFTER: Final = 5.0
SAY_AGAIN: Final = 600.0
_NOT_YET: Final = ("no-role", "unknown-action", "timeout", "busy")


class Guards:
    """The roles that must answer `guard` before a packet passes the card.

    `silent_after` is how long, in seconds, one may take before the log says so, which it repeats every `say_again`.
    """

    def __init__(
        self,
        bus: Bus,
        roles: Iterable[str],
        *,
        silent_after: float = SILENT_AFTER,
        say_again: float = SAY_AGAIN,
    ) -> None:
        self._bus = bus
        self._roles = tuple(roles)
        self._silent_after = silent_after
        self._say_again = say_again
        self.blocked: str | None = None
        """Why nothing passes the card now, in one line; None: no guard is awaited."""

    def __bool__(self) -> bool:
        return bool(self._roles)

    async def answered(self, card: JsonObject) -> None:
        """Return once each role has answered `guard` for this card; one that refuses is asked again."""
        try:
            for role in self._roles:
                self.blocked = f"its guard, the role {role}, has not answered yet"
                saying = asyncio.create_task(self._say_when_silent(role))
                try:
                    await self._wait_for(role, card)
                finally:
                    saying.cancel()
        finally:
            self.blocked = None

    async def _wait_for(self, role: str, card: JsonObject) -> None:
        said = ""
        while True:
            try:
                await self._bus.request(role, "guard", card, timeout=ANSWER_SECONDS)
            except BusError as error:
                if error.code not in _NOT_YET and error.message != said:
                    said = error.message
                    self.blocked = f"its guard, the role {role}, refuses: {said}"
                    fields = {"role": role, "why": said}
                    log.warning("nothing passes the card: its guard refuses", extra={"fields": fields})
                await asyncio.sleep(AGAIN_AFTER)
            else:
                return

    async def _say_when_silent(self, role: str) -> None:
        pause = self._silent_after
        while True:
            await asyncio.sleep(pause)
            pause = self._say_again
            log.warning("nothing passes the card: its guard does not answer", extra={"fields": {"role": role}})
