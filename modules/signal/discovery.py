"""Discovery's driver: announces this node in its networks, and links to a few of those that it hears."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

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
        self._timer = Timer(self._machine.next_wake, lambda now: self._perform(self._machine.wake(now, alone=alone())))
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

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            work = self._announce() if isinstance(effect, Announce) else self._dial(effect)
            task = asyncio.create_task(work)
            self._work.add(task)
            task.add_done_callback(self._work.discard)
        self._timer.set()

    async def _announce(self) -> None:
        try:
            status = (await self._bus.request("link", "status", timeout=2.0)).body
            hosts = await self._hosts()
        except BusError:
            return
        port = int(status["listening"][0].rpartition(":")[2])
        self._group.send(encode(Announcement(bytes.fromhex(self._own_node), port)), hosts)

    async def _join(self) -> None:
        try:
            self._group.join(await self._hosts())
        except BusError:
            log.info("own networks are joined with the first announcement: the links do not answer yet")

    async def _hosts(self) -> list[str]:
        """IPv4 addresses of this node; those that are its router's are of no use here, and do no harm."""
        candidates = (await self._bus.request("link", "candidates", timeout=2.0)).body["candidates"]
        hosts = {host for host, _, _ in (candidate.rpartition(":") for candidate in candidates) if ":" not in host}
        return sorted(hosts)

    async def _dial(self, effect: Dial) -> None:
        body = {"node": effect.node, "endpoint": effect.endpoint, "kind": KIND}
        try:
            await self._bus.request("link", "connect", body, timeout=CONNECT_LIMIT)
        except BusError:
            self._machine.failed(effect.node, self._timer.now(), random.random())
        else:
            log.info("node found in the own network", extra={"fields": {"node": effect.node, "at": effect.endpoint}})
            self._machine.connected(effect.node)
