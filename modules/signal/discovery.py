"""Discovery's driver: announces this node in its networks, and links to a few of those that it hears."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from ipop_core.bus.api import Bus, Event
from ipop_core.errors import BusError
from ipop_modules.signal.multicast import Multicast
from ipop_modules.signal.protocol.addresses import format_endpoint
from ipop_modules.signal.protocol.announcement import Announcement, decode, encode
from ipop_modules.signal.protocol.discovery import KIND, Announce, Dial, Discovery, Effect
from ipop_modules.signal.timer import Timer

log = logging.getLogger("ipop.signal")

CONNECT_LIMIT: Final = 3.0


class DiscoveryDriver:
    """`alone` tells whether no bootstrap has a link with this node."""

    def __init__(self, bus: Bus, own_node: str, alone: Callable[[], bool], *, has_bootstraps: bool) -> None:
        self._bus = bus
        self._own_node = own_node
        now = asyncio.get_running_loop().time()
        self._machine = Discovery(own_node, now, has_bootstraps=has_bootstraps)
        self._alone = alone
        self._timer = Timer(self._machine.next_wake, self._wake)
        self._group = Multicast(self._received)
        self._work: set[asyncio.Task[None]] = set()

    @property
    def linked(self) -> list[str]:
        return self._machine.linked

    @property
    def counters(self) -> Counter[str]:
        return self._machine.counters

    async def start(self) -> None:
        try:
            await self._group.open()
        except OSError as error:
            log.info("no discovery in the own network", extra={"fields": {"fault": str(error)}})
            return
        await self._join()
        self._timer.set()

    async def stop(self) -> None:
        self._timer.cancel()
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        self._group.close()

    def link_down(self, event: Event) -> None:
        self._machine.link_down(event.body["node"])

    def _received(self, data: bytes, address: str) -> None:
        try:
            heard = decode(data)
        except ValueError:
            self._machine.counters["lan_invalid"] += 1
            return
        endpoint = format_endpoint(address, heard.port)
        self._perform(self._machine.heard(heard.node.hex(), endpoint, self._timer.now()))

    def _wake(self, now: float) -> None:
        effects = self._machine.wake(now, alone=self._alone())
        self._perform(effects)
        if not effects:
            self._begin(self._join())

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            self._begin(self._announce() if isinstance(effect, Announce) else self._dial(effect))
        self._timer.set()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _announce(self) -> None:
        try:
            status = (await self._bus.request("link", "status", timeout=2.0)).body
            hosts = await self._hosts()
        except BusError:
            return
        port = int(status["listening"][0].rpartition(":")[2])
        await self._hear(hosts)
        self._group.send(encode(Announcement(bytes.fromhex(self._own_node), port)), hosts)

    async def _join(self) -> None:
        """Hear in the networks that this machine is in now."""
        try:
            await self._hear(await self._hosts())
        except BusError:
            log.info("own networks are joined later: the links do not answer yet")

    async def _hear(self, hosts: Sequence[str]) -> None:
        if not self._group.join(hosts):
            with contextlib.suppress(OSError):
                await self._group.open()
                self._group.join(hosts)

    async def _hosts(self) -> list[str]:
        """IP addresses of this node; those that are its router's are of no use here, and do no harm."""
        candidates = (await self._bus.request("link", "candidates", timeout=2.0)).body["candidates"]
        return sorted({candidate.rpartition(":")[0].strip("[]") for candidate in candidates})

    async def _dial(self, effect: Dial) -> None:
        body = {"node": effect.node, "endpoint": effect.endpoint, "kind": KIND}
        try:
            await self._bus.request("link", "connect", body, timeout=CONNECT_LIMIT)
        except BusError:
            self._machine.failed(effect.node, self._timer.now(), random.random())
        else:
            log.info("node found in the own network", extra={"fields": {"node": effect.node, "at": effect.endpoint}})
            self._machine.connected(effect.node)
