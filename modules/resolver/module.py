"""The module: questions come in at the card's own addresses, and the directory answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from ipaddress import ip_interface
from typing import Final

import dns.rcode

from ipop_core.bus.api import Call, Event, JsonObject
from ipop_core.contract import ModuleContext
from ipop_core.errors import IpopError
from ipop_modules.resolver.directory import LOOKUP_LIMIT, Directory
from ipop_modules.resolver.door import Door
from ipop_modules.resolver.protocol.answering import BadQuestion, Question, code_of, read_question, refuse
from ipop_modules.resolver.protocol.zones import Zones
from ipop_modules.resolver.resolved import Resolved, Wish
from ipop_modules.resolver.settings import Settings

MOST_AT_ONCE: Final = 64
"""Questions that wait for the directory; more are told to come again."""
USUAL_CODES: Final = ("noerror", "nxdomain", "servfail", "refused")


class Resolver:
    def __init__(self, context: ModuleContext) -> None:
        self._context = context
        self._settings: Settings = context.settings
        self._zones = Zones(self._settings.domain)
        self._interfaces: list[str] = []
        self._doors: list[Door] = []
        self._work: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._opening = asyncio.Lock()
        self._resolved = Resolved()
        self._counters: Counter[str] = Counter()
        self._queries = Counter[str](udp=0, tcp=0)
        self._answers = Counter[str](dict.fromkeys(USUAL_CODES, 0))
        self._directory = Directory(context.bus, self._count)

    async def start(self) -> None:
        """Raises IpopError where there is no card, or its port is taken or not allowed."""
        bus = self._context.bus
        card = (await bus.request("link", "status")).body["card"]
        if card is None:
            raise IpopError("modules.resolver: this node has no virtual card, whose address it could answer at")
        await self._open(card["addresses"])
        self._spawn(self._tell(card["name"]))
        bus.serve("status", self._status)
        await bus.subscribe("link.card", self._card_changed)

    async def stop(self) -> None:
        for task in self._work:
            task.cancel()
        self._close()
        await self._resolved.take_back()

    async def _open(self, addresses: Sequence[str]) -> None:
        async with self._opening:
            if list(addresses) == self._interfaces:
                return
            self._close()
            self._interfaces = list(addresses)
            interfaces = [ip_interface(text) for text in self._interfaces]
            self._zones = Zones(self._settings.domain, [interface.network for interface in interfaces])
            for interface in interfaces:
                door = Door(interface.ip, self._asked, self._count)
                self._doors.append(door)
                await door.open(self._settings.port)

    def _close(self) -> None:
        for door in self._doors:
            door.close()
        self._doors = []

    def _card_changed(self, event: Event) -> None:
        self._spawn(self._follow(event.body["name"], event.body["addresses"]))

    async def _follow(self, card: str, addresses: Sequence[str]) -> None:
        try:
            await self._open(addresses)
        except IpopError as error:
            self._context.report_fault(str(error))
        else:
            await self._tell(card)

    async def _tell(self, card: str) -> None:
        if not self._interfaces:
            return
        zones = (self._zones.domain, *self._zones.reverse)
        with contextlib.suppress(OSError):  # a card in user space has no number, and the kernel's programs don't see it
            await self._resolved.tell(
                Wish(
                    interface=socket.if_nametoindex(card),
                    servers=[ip_interface(text).ip for text in self._interfaces],
                    port=self._settings.port,
                    zones=[zone.to_text(omit_final_dot=True) for zone in zones],
                )
            )

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _count(self, what: str) -> None:
        self._counters[what] += 1

    def _reply(self, answer: bytes, send: Callable[[bytes], None]) -> None:
        self._answers[code_of(answer)] += 1
        send(answer)

    def _asked(self, message: bytes, stream: bool, send: Callable[[bytes], None]) -> bool:
        try:
            question = read_question(message, self._zones, stream=stream)
        except BadQuestion:
            self._count("drop_bad")
            return False
        self._queries["tcp" if stream else "udp"] += 1
        if question.place.host is None and question.place.address is None:
            self._count("refused")
            self._reply(refuse(question), send)
        elif self._waiting >= MOST_AT_ONCE:
            self._count("busy")
            self._reply(refuse(question, dns.rcode.SERVFAIL), send)
        else:
            self._waiting += 1
            self._spawn(self._answer(question, send))
        return True

    async def _answer(self, question: Question, send: Callable[[bytes], None]) -> None:
        try:
            async with asyncio.timeout(LOOKUP_LIMIT):
                answer = await self._directory.answer(question, self._zones)
        except TimeoutError:
            self._count("failed")
            answer = refuse(question, dns.rcode.SERVFAIL)
        finally:
            self._waiting -= 1
        self._reply(answer, send)

    async def _status(self, _: Call) -> JsonObject:
        listening = [f"{ip_interface(text).ip} port {self._settings.port}" for text in self._interfaces]
        return {
            "domain": self._settings.domain,
            "listening": listening,
            "systemd_resolved": self._resolved.state,
            "counters": dict(self._counters),
            "queries": dict(self._queries),
            "answers": dict(self._answers),
        }
