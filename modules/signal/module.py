"""The module: what it serves on the bus, what it listens to, and its two drivers."""

from __future__ import annotations

from ipop_core.bus.api import Call, JsonObject
from ipop_core.contract import ModuleContext
from ipop_modules.signal.contact import ContactDriver
from ipop_modules.signal.discovery import DiscoveryDriver
from ipop_modules.signal.rendezvous import RendezvousDriver
from ipop_modules.signal.settings import Settings


class Signal:
    def __init__(self, context: ModuleContext) -> None:
        self._context = context
        self._settings: Settings = context.settings

    async def start(self) -> None:
        bus = self._context.bus
        self._contact = ContactDriver(bus, self._context.identity.hex, self._settings.parsed)
        self._rendezvous = RendezvousDriver(bus)
        self._discovery = self._make_discovery() if self._settings.lan else None
        bus.serve("status", self._status)
        bus.serve("offers", self._offers)
        bus.serve("peer_message", self._peer_message)
        await bus.subscribe("link.up", self._rendezvous.link_up)
        await bus.subscribe("link.down", self._contact.link_down)
        await bus.subscribe("link.rendezvous", self._rendezvous.want)
        if self._discovery is not None:
            await bus.subscribe("link.down", self._discovery.link_down)
            await self._discovery.start()
        self._contact.start()

    def _make_discovery(self) -> DiscoveryDriver:
        context = self._context
        return DiscoveryDriver(
            context.bus,
            context.identity.hex,
            lambda: self._contact.is_alone,
            has_bootstraps=bool(self._settings.bootstraps),
        )

    async def stop(self) -> None:
        self._rendezvous.stop()
        if self._discovery is not None:
            await self._discovery.stop()
        await self._contact.stop()

    async def reconfigure(self, settings: Settings) -> None:
        self._settings = settings
        self._contact.replace(settings.parsed)

    async def _status(self, _: Call) -> JsonObject:
        counters, linked = dict(self._rendezvous.counters), []
        if self._discovery is not None:
            counters |= self._discovery.counters
            linked = self._discovery.linked
        return {"bootstraps": self._contact.status, "lan": linked, "counters": counters}

    async def _offers(self, call: Call) -> JsonObject:
        return self._rendezvous.tally(call.body["node"])

    async def _peer_message(self, call: Call) -> None:
        await self._rendezvous.receive(call)
