"""The module itself: it runs in a process of its own and answers on the bus."""

import logging
from dataclasses import dataclass

from ipop_core.bus.api import Call, JsonObject
from ipop_core.contract import ModuleContext
from ipop_core.errors import IpopError

log = logging.getLogger("ipop.hello")


@dataclass(frozen=True)
class Settings:
    """The section `modules.hello`."""

    greeting: str


class Hello:
    def __init__(self, context: ModuleContext) -> None:
        self._bus = context.bus
        self._settings: Settings = context.settings
        self._count = 0

    async def start(self) -> None:
        self._bus.serve("greet", self._greet)

    async def stop(self) -> None:
        log.info("stopped", extra={"fields": {"greeted": self._count}})

    async def _greet(self, call: Call) -> JsonObject:
        name = call.body["name"]
        if not name.isprintable():
            raise IpopError(f"name: {name!r} can't be printed")
        self._count += 1
        self._bus.publish("hello.greeted", {"name": name})
        return {"text": f"{self._settings.greeting}, {name}!", "count": self._count}
