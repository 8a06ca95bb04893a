"""The module: policies that fail closed, a charon that negotiates, and what the operator sees of both."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Final

from ipop_core.bus.api import Call, JsonObject
from ipop_core.contract import ModuleContext
from ipop_core.errors import BusError, ConfigError, IpopError
from ipop_modules.ipsec.acquires import Acquires
from ipop_modules.ipsec.associations import Association
from ipop_modules.ipsec.connections import MOST_PREPARED
from ipop_modules.ipsec.credentials import Credentials, read_credentials
from ipop_modules.ipsec.drops import read_drops
from ipop_modules.ipsec.leftovers import remove_all, removing
from ipop_modules.ipsec.negotiation import CardFacts, Listener, Negotiation
from ipop_modules.ipsec.policies import policies_for
from ipop_modules.ipsec.settings import Settings
from ipop_modules.ipsec.vici_client import ViciError
from ipop_modules.ipsec.xfrm import Xfrm

CREDENTIALS_EVERY: Final = 2.0
"""Seconds between looks at the certificate and the revocations on disk, and at who is there in a large subnet."""
ANSWER_SECONDS: Final = 1.0
"""Charon's time to say who its peers are; a status is told without them after that."""
_LARVAL_DROP: Final = Path("/proc/sys/net/core/xfrm_larval_drop")

log = logging.getLogger("ipop.ipsec")


class Ipsec:
    def __init__(self, context: ModuleContext) -> None:
        self._context = context
        self._settings: Settings = context.settings
        self._on = False
        self._changing = asyncio.Lock()
        self._card = CardFacts("", 0, ())
        self._credentials: Credentials | None = None
        self._negotiation: Negotiation | None = None
        self._acquires: Acquires | None = None
        self._looking: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[list[Association] | None] | None = None
        self._fault: str | None = None
        self._news = asyncio.Event()
        """Something happened to the links: there may be a new peer in a large subnet."""

    async def start(self) -> None:
        """Raises IpopError where nothing can be protected: no ESP in the kernel, no certificate, no card."""
        bus = self._context.bus
        card = (await bus.request("link", "status")).body["card"]
        self._take_card(card)
        with Xfrm() as xfrm:
            for interface in self._card.interfaces:
                xfrm.try_esp(interface.ip)
        self._credentials = self._read_credentials()
        await self._turn_on()
        bus.serve("guard", self._guard)
        bus.serve("status", self._status)
        bus.serve("on", self._serve_on)
        bus.serve("off", self._serve_off)
        await bus.subscribe("link.*", lambda _: self._news.set())
        self._looking = asyncio.create_task(self._look())

    async def stop(self) -> None:
        """The policies stay, for the card is still there; the next start puts them in order, `off` removes them."""
        if self._looking is not None:
            self._looking.cancel()
        await self._end_negotiation()
        if self._on:
            how = removing(self._card.name)
            log.info("nothing passes %s until this module starts again; to end that: %s", self._card.name, how)

    def _take_card(self, card: JsonObject | None) -> None:
        if card is None:
            raise ConfigError(
                "modules.ipsec", "this node has no virtual card to protect; give modules.tincan an address"
            )
        name = str(card["name"])
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            fault = f"the kernel has no card {name}, so it can't protect it (is modules.tincan.card_type user?)"
            raise ConfigError("modules.ipsec", fault) from None
        self._card = CardFacts(name, index, tuple(ip_interface(text) for text in card["addresses"]))

    def _read_credentials(self) -> Credentials:
        addresses = [interface.ip for interface in self._card.interfaces]
        return read_credentials(self._context.identity, self._context.namespace, addresses)

    async def _turn_on(self) -> None:
        assert self._credentials is not None
        with contextlib.suppress(OSError):  # packets that wait for keys are dropped then, and come again
            _LARVAL_DROP.write_text("0")
        self._put_policies()
        self._on = True
        folder = self._context.run / "charon"
        listener = Listener(self._association_changed, self._has_fault)
        self._negotiation = Negotiation(self._settings, folder, self._card, listener)
        self._acquires = Acquires(self._card.tag, self._negotiation.want)
        await self._negotiation.start(self._credentials)

    async def _turn_off(self) -> None:
        await self._end_negotiation()
        remove_all(self._card.name)
        self._on = False

    async def _end_negotiation(self) -> None:
        if self._acquires is not None:
            self._acquires.close()
        if self._negotiation is not None:
            await self._negotiation.stop()
        self._acquires = self._negotiation = None

    def _put_policies(self) -> None:
        with Xfrm() as xfrm:
            xfrm.put_policies(policies_for(self._card.interfaces, self._card.index), self._card.tag)

    async def _guard(self, call: Call) -> None:
        """The link module was started or restarted: the card may be another one of the same name."""
        async with self._changing:
            old = self._card
            self._take_card(call.body)
            if not self._on:
                return
            self._put_policies()
            if self._card == old:
                return
            await self._end_negotiation()
            await self._turn_on()
            with Xfrm() as xfrm:
                xfrm.delete_policies(xfrm.policies(old.tag))

    async def _look(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CREDENTIALS_EVERY):
                    await self._news.wait()
            self._news.clear()
            try:
                async with self._changing:
                    await self._renew()
                await self._expect_peers()
            except IpopError as error:
                self._has_fault(str(error))
            else:
                self._fault = None

    async def _renew(self) -> None:
        """Use what is on disk; it counts as known once charon knows it."""
        credentials = self._read_credentials()
        if credentials == self._credentials:
            return
        if self._negotiation is not None:
            await self._negotiation.renew(credentials)
        self._credentials = credentials
        log.info("new credentials", extra={"fields": {"revocations": self._revocations()}})

    async def _expect_peers(self) -> None:
        large = [item for item in self._card.interfaces if item.network.num_addresses > MOST_PREPARED]
        if not large or self._negotiation is None:
            return
        try:
            peers = (await self._context.bus.request("link", "peers")).body["peers"]
        except BusError:
            return
        addresses = {ip_address(text) for peer in peers for text in peer["addresses"]}
        await self._negotiation.prepare({item for item in addresses if any(item in net.network for net in large)})

    async def _status(self, _: Call) -> JsonObject:
        negotiation = self._negotiation
        associations = await self._associations(negotiation) if negotiation is not None else []
        hangs = "charon does not answer" if associations is None else None
        return {
            "kind": "ipsec",
            "on": self._on,
            "ready": negotiation is not None and negotiation.ready and not hangs,
            "card": self._card.name,
            "fault": hangs or (negotiation.fault if negotiation is not None else None) or self._fault,
            "restarts": negotiation.restarts if negotiation is not None else 0,
            "revocations": self._revocations(),
            "counters": read_drops(),
            "associations": [association.show() for association in associations or ()],
        }

    async def _associations(self, negotiation: Negotiation) -> list[Association] | None:
        """None where charon does not say in time. It is asked once, however many want to know."""

        async def ask() -> list[Association] | None:
            try:
                return await negotiation.associations()
            except ViciError:
                return None

        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(ask())
        asking = self._asking
        await asyncio.wait([asking], timeout=ANSWER_SECONDS)
        return asking.result() if asking.done() else None

    def _revocations(self) -> int | None:
        lists = self._credentials.revocations if self._credentials else ()
        return max((item.number for item in lists), default=None)

    async def _serve_on(self, _: Call) -> None:
        async with self._changing:
            if not self._on:
                self._credentials = self._read_credentials()
                await self._turn_on()
                self._context.bus.publish("crypto.on")

    async def _serve_off(self, _: Call) -> None:
        async with self._changing:
            if self._on:
                await self._turn_off()
                self._context.bus.publish("crypto.off")

    def _association_changed(self, peer: str, up: bool) -> None:
        log.info("association", extra={"fields": {"peer": peer, "up": up}})
        self._context.bus.publish("crypto.up" if up else "crypto.down", {"address": peer})

    def _has_fault(self, line: str) -> None:
        if line != self._fault:
            self._fault = line
            self._context.report_fault(line)
