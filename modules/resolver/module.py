"""The module: questions come in at the card's own addresses, and the directory answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from ipaddress import ip_address, ip_interface
from typing import Final

import dns.name
import dns.rcode

from ipop_core.bus.api import Call, Event, JsonObject
from ipop_core.contract import ModuleContext
from ipop_core.errors import BusError, IpopError
from ipop_modules.resolver.door import open_door
from ipop_modules.resolver.protocol.answering import BadQuestion, Question, answer_with, read_question, refuse
from ipop_modules.resolver.settings import Settings

MOST_AT_ONCE: Final = 64
"""Questions that wait for the directory; more are told to come again."""
LOOKUP_LIMIT: Final = 4.0
"""Seconds; programs ask again after five."""


class Resolver:
    def __init__(self, context: ModuleContext) -> None:
        self._context = context
        self._settings: Settings = context.settings
        self._domain = dns.name.from_text(self._settings.domain)
        self._interfaces: list[str] = []
        self._doors: list[asyncio.DatagramTransport] = []
        self._lookups: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()
        self._counters: Counter[str] = Counter()

    async def start(self) -> None:
        """Raises IpopError where there is no card, or its port is taken or not allowed."""
        bus = self._context.bus
        card = (await bus.request("link", "status")).body["card"]
        if card is None:
            raise IpopError("modules.resolver: this node has no virtual card, whose address it could answer at")
        await self._open(card["addresses"])
        bus.serve("status", self._status)
        await bus.subscribe("link.card", self._card_changed)

    async def stop(self) -> None:
        for task in self._lookups:
            task.cancel()
        self._close()

    async def _open(self, addresses: Sequence[str]) -> None:
        async with self._opening:
            if list(addresses) == self._interfaces:
                return
            self._close()
            self._interfaces = list(addresses)
            for text in self._interfaces:
                own = ip_interface(text).ip
                self._doors.append(await open_door(own, self._settings.port, self._asked, self._is_foreign))

    def _close(self) -> None:
        for door in self._doors:
            door.close()
        self._doors = []

    def _card_changed(self, event: Event) -> None:
        self._spawn(self._reopen(event.body["addresses"]))

    async def _reopen(self, addresses: Sequence[str]) -> None:
        try:
            await self._open(addresses)
        except IpopError as error:
            self._context.report_fault(str(error))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    def _is_foreign(self) -> None:
        self._counters["drop_foreign"] += 1

    def _asked(self, datagram: bytes, send: Callable[[bytes], None]) -> None:
        try:
            question = read_question(datagram, self._domain)
        except BadQuestion:
            self._counters["drop_bad"] += 1
            return
        if question.host is None:
            self._counters["refused"] += 1
            send(refuse(question, self._domain, question.refusal))
        elif len(self._lookups) >= MOST_AT_ONCE:
            self._counters["busy"] += 1
            send(refuse(question, self._domain, dns.rcode.SERVFAIL))
        else:
            self._spawn(self._answer(question, question.host, send))

    async def _answer(self, question: Question, host: str, send: Callable[[bytes], None]) -> None:
        try:
            reply = await self._context.bus.request("topology", "resolve_name", {"name": host}, timeout=LOOKUP_LIMIT)
        except BusError as error:
            # What can't be a host name is refused there.
            code = dns.rcode.NXDOMAIN if error.code == "refused" else dns.rcode.SERVFAIL
            self._counters["unknown" if error.code == "refused" else "failed"] += 1
            send(refuse(question, self._domain, code))
            return
        found = reply.body
        if found["node"] is None:
            code = dns.rcode.NXDOMAIN if found["certain"] else dns.rcode.SERVFAIL
            self._counters["unknown" if found["certain"] else "failed"] += 1
            send(refuse(question, self._domain, code))
            return
        # What a member says of itself leads no program out of the virtual network.
        networks = [ip_interface(text).network for text in self._interfaces]
        claimed = [ip_address(text) for text in found["addresses"]]
        addresses = [ip for ip in claimed if any(ip in network for network in networks)]
        self._counters["answered"] += 1
        send(answer_with(question, self._domain, addresses, found.get("lease_s")))

    async def _status(self, _: Call) -> JsonObject:
        listening = [f"{ip_interface(text).ip} port {self._settings.port}" for text in self._interfaces]
        return {"domain": self._settings.domain, "listening": listening, "counters": dict(self._counters)}
