"""The module: an HTTP server for this node's owner, who watches the ring, and for Prometheus."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from typing import Final

from ipop_core.bus.api import Call, JsonObject
from ipop_core.contract import ModuleContext
from ipop_core.errors import IpopError
from ipop_modules.monitor.door import keep_token
from ipop_modules.monitor.server import Server, listen
from ipop_modules.monitor.settings import Settings
from ipop_modules.monitor.site import make_site
from ipop_modules.monitor.watching import Watching

_log = logging.getLogger("ipop.monitor")

TRY_AGAIN: Final = 10.0
NICENESS: Final = 10
"""Packets go first."""


class Monitor:
    def __init__(self, context: ModuleContext) -> None:
        self._context = context
        self._settings: Settings = context.settings
        self._counters: Counter[str] = Counter()
        self._token = ""
        self._watching = Watching(context.bus)
        self._server: Server | None = None
        self._opening: asyncio.Task[None] | None = None
        self._listening: str | None = None

    async def start(self) -> None:
        if (await self._context.bus.request("core", "status")).body["pid"] != os.getpid():
            os.nice(NICENESS)
        self._token = keep_token(self._context.state / "token")
        self._context.bus.serve("status", self._status)
        self._context.bus.serve("invite", self._invite)
        await self._watching.start()
        try:
            self._open()
        except OSError as error:
            # A taken port must not keep a node from carrying packets.
            fault = f"modules.monitor.listen: can't listen on {self._settings.listen}: {error.strerror}"
            self._context.report_fault(f"{fault}; it is tried again")
            self._opening = asyncio.create_task(self._open_later())

    async def stop(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        self._watching.board.close()
        self._watching.stop()
        if self._server is not None:
            await self._server.close()

    def _open(self) -> None:
        """Raise OSError where the port can't be had."""
        address = self._settings.address
        sock = listen(str(address), self._settings.port)
        port = sock.getsockname()[1]
        self._listening = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
        site = make_site(
            self._context.bus,
            self._watching.board,
            token=self._token,
            cookie=f"ipop-monitor-{port}",  # cookies don't tell ports apart
            is_local=address.is_loopback,
            counters=self._counters,
        )
        self._server = Server(site, sock, self._counters)
        self._server.begin()
        _log.info("the monitor listens", extra={"fields": {"at": self._listening}})

    async def _open_later(self) -> None:
        while self._server is None:
            await asyncio.sleep(TRY_AGAIN)
            try:
                self._open()
            except OSError:
                continue

    async def _status(self, _: Call) -> JsonObject:
        return {
            "listening": self._listening,
            "watchers": self._watching.board.watchers,
            "counters": dict(self._counters),
        }

    async def _invite(self, _: Call) -> JsonObject:
        if self._listening is None:
            raise IpopError(f"the monitor does not listen: {self._settings.listen} is taken by another program")
        base = f"http://{self._reachable(self._listening)}"
        return {"url": f"{base}/#{self._token}", "metrics": f"{base}/metrics", "token": self._token}

    def _reachable(self, listening: str) -> str:
        """What a browser on this machine asks for, where it listens on every address."""
        if not self._settings.address.is_unspecified:
            return listening
        loopback = "[::1]" if self._settings.address.version == 6 else "127.0.0.1"
        return f"{loopback}:{listening.rpartition(':')[2]}"
