"""The module: what it serves on the bus and what it listens to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable
from ipaddress import ip_address, ip_interface
from typing import Any, Final

from ipop_core.bus.api import Call, Event, JsonObject
from ipop_core.clock import boot_clock, boot_epoch
from ipop_core.contract import ModuleContext
from ipop_core.errors import BusError, IpopError
from ipop_modules.topology.directory import Directory
from ipop_modules.topology.driver import Answer, Driver
from ipop_modules.topology.known import KnownPeers
from ipop_modules.topology.protocol.effects import Source, Surveyed
from ipop_modules.topology.protocol.machine import Machine, Member
from ipop_modules.topology.protocol.names import read_name
from ipop_modules.topology.protocol.registration import Owner
from ipop_modules.topology.settings import Settings
from ipop_modules.topology.visiting import Visiting
from ipop_modules.topology.vouching import own_certificate, vouching

_log = logging.getLogger(__name__)

MAX_SURVEYS: Final = 128
ADOPT_RETRY: Final = 0.3
SURVEY_SECONDS: Final = 0.8
SURVEY_TRIES: Final = 2
FAREWELL_SECONDS: Final = 0.5


class Topology:
    def __init__(self, context: ModuleContext) -> None:
        self._context = context
        self._bus = context.bus
        self._machine = _make_machine(context)
        self._meanwhile: dict[bytes, list[str] | None] = {}
        """While the list of all links is being asked for, those that came (with their kinds) or went (None)."""
        self._adopting: asyncio.Task[None] | None = None
        self._surveys: dict[int, asyncio.Future[Surveyed]] = {}
        self._known = KnownPeers(self._bus, context.state / "known-peers.json", self._linked, self._is_alone)
        self._visiting = Visiting(self._bus, self._machine.ring, lambda: self._machine.shortcuts.cap)

    async def start(self) -> None:
        self._driver = Driver(self._bus, self._machine, self._answer, self._known)
        self._directory = Directory(self._bus, self._machine, self._context.namespace, self._driver.perform)
        self._bus.serve("status", self._status)
        self._directory.serve()
        self._bus.serve("survey", self._survey)
        self._bus.serve("peer_message", self._peer_message)
        await self._bus.subscribe("link.up", self._on_link_up)
        await self._bus.subscribe("link.down", self._on_link_down)
        await self._bus.subscribe("link.demand", self._on_demand)
        await self._bus.subscribe("link.idle", self._on_idle)
        await self._bus.subscribe("link.unplaced", self._on_unplaced)
        await self._bus.subscribe("link.card", self._on_card)
        await self._bus.subscribe("core.module", self._on_module)
        self._name(self._context.settings)
        self._adopting = self._driver.spawn(self._adopt())
        self._driver.spawn(self._known.keep())
        self._driver.spawn(self._visiting.keep())

    async def stop(self) -> None:
        self._driver.perform(self._machine.withdraw(boot_clock()))
        # Its answer says that what was withdrawn has gone out.
        with contextlib.suppress(BusError):
            await self._bus.request("link", "status", timeout=FAREWELL_SECONDS)
        await self._driver.stop()

    async def reconfigure(self, settings: Settings) -> None:
        self._machine.shortcuts.cap = settings.shortcuts
        self._name(settings)

    def _name(self, settings: Settings) -> None:
        name = None if settings.name is None else read_name(settings.name)
        self._driver.perform(self._machine.set_name(name, boot_clock()))

    async def _adopt(self) -> None:
        """Take over the links and addresses that the link module has: after its restart, or this module's own."""
        while True:
            self._meanwhile.clear()
            try:
                peers = await self._bus.request("link", "peers")
                self._relink(peers.body["peers"])
                self._meanwhile.clear()
                status = await self._bus.request("link", "status")
            except BusError as fault:
                _log.debug("the link module does not answer yet", extra={"fields": {"fault": str(fault)}})
                await asyncio.sleep(ADOPT_RETRY)
                continue
            self._claim(status.body["card"])
            return

    def _relink(self, peers: Iterable[JsonObject]) -> None:
        up = {_node(peer): peer["kinds"] for peer in peers if peer["path"] == "direct"}
        for node, kinds in self._meanwhile.items():
            if kinds is None:
                up.pop(node, None)
            else:
                up.setdefault(node, kinds)
        self._driver.perform(self._machine.relink(up, boot_clock()))

    def _note(self, node: bytes, kinds: list[str] | None) -> None:
        if self._adopting is not None and not self._adopting.done():
            self._meanwhile[node] = kinds

    def _linked(self) -> set[str]:
        return {node.hex() for node in self._machine.ring.links}

    def _is_alone(self) -> bool:
        return self._machine.ring.is_alone

    def _claim(self, card: Any) -> None:
        """`card`: as in link.card, or null on a node that has none."""
        addresses = [ip_interface(address).ip.packed for address in card["addresses"]] if card else []
        self._driver.perform(self._machine.set_addresses(addresses, boot_clock()))

    # What the link module says.

    def _on_link_up(self, event: Event) -> None:
        node, kinds = _node(event.body), event.body["kinds"]
        self._note(node, kinds)
        self._known.note(event.body["node"], event.body["endpoint"], kinds)
        initiator = event.body["initiator"] or bool(kinds)
        self._driver.perform(self._machine.link_up(node, boot_clock(), initiator=initiator))

    def _on_link_down(self, event: Event) -> None:
        node = _node(event.body)
        self._note(node, None)
        self._driver.perform(self._machine.link_down(node, boot_clock()))

    def _on_demand(self, event: Event) -> None:
        self._driver.perform(self._machine.demand(_node(event.body), boot_clock()))

    def _on_idle(self, event: Event) -> None:
        self._driver.perform(self._machine.idle(_node(event.body), boot_clock()))

    def _on_unplaced(self, event: Event) -> None:
        address = ip_address(event.body["address"]).packed
        self._driver.perform(self._machine.unplaced(_node(event.body), address, boot_clock()))

    def _on_card(self, event: Event) -> None:
        self._claim(event.body)
        self._adopt_again()

    def _on_module(self, event: Event) -> None:
        if event.body["state"] == "running":
            self._adopt_again()

    def _adopt_again(self) -> None:
        if self._adopting is None or self._adopting.done():
            self._adopting = self._driver.spawn(self._adopt())

    # What others ask.

    async def _peer_message(self, call: Call) -> None:
        sender = bytes.fromhex(call.body["sender"])
        link = bytes.fromhex(call.body.get("link", call.body["sender"]))
        source = Source(sender, call.body["mode"] == "session", link)
        self._driver.perform(self._machine.receive(call.frames[0], source, boot_clock()))

    async def _survey(self, call: Call) -> JsonObject:
        node = bytes.fromhex(call.body["node"]) if "node" in call.body else self._machine.ring.me
        if len(self._surveys) >= MAX_SURVEYS:
            raise IpopError(f"{MAX_SURVEYS} surveys are under way already")
        number = int.from_bytes(os.urandom(7), "big")
        answered = self._surveys[number] = asyncio.get_running_loop().create_future()
        try:
            for _ in range(SURVEY_TRIES):
                self._driver.perform(self._machine.survey(node, number, boot_clock()))
                done, _ = await asyncio.wait((answered,), timeout=SURVEY_SECONDS)
                if done:
                    return _shown(answered.result())
        finally:
            del self._surveys[number]
        raise IpopError(f"no answer from {node.hex()}")

    def _answer(self, effect: Answer) -> None:
        if isinstance(effect, Surveyed):
            self._on_surveyed(effect)
        else:
            self._directory.answer(effect)

    def _on_surveyed(self, surveyed: Surveyed) -> None:
        waiting = self._surveys.get(surveyed.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(surveyed)

    async def _status(self, _: Call) -> JsonObject:
        machine = self._machine
        claims = machine.registrations.addresses if machine.registrations else []
        name = machine.registrations.name if machine.registrations else None
        return {
            "joined": machine.ring.attached,
            "size_estimate": machine.ring.size_estimate,
            "neighbours": [{"node": node.hex(), "kind": kind} for node, kind in machine.ring.neighbours()],
            "registered": [
                {
                    "address": str(ip_address(claim.subject)),
                    "state": claim.state,
                    "owner": claim.owner.hex() if claim.owner else None,
                }
                for claim in claims
                if isinstance(claim.subject, bytes)
            ],
            "name": None
            if name is None
            else {"name": name.subject, "state": name.state, "owner": name.owner.hex() if name.owner else None},
            "members": machine.census.others if machine.census else None,
            "counters": {
                "dropped": machine.dropped,
                "records": len(machine.storage.store),
                "shortcuts": len(machine.shortcuts),
                "shortcuts_displaced": machine.shortcuts.displaced,
                "visitors_turned_away": self._visiting.turned_away,
                "drop_hello_limit": machine.hellos.refused,
                "drop_join_limit": machine.joins.refused,
                "drop_put_limit": machine.storage.puts.refused,
                "drop_repair_limit": machine.storage.repairs.refused,
                "drop_replica_limit": machine.storage.replicas.refused,
                "drop_correction_limit": machine.storage.corrections.refused,
                "drop_survey_limit": machine.surveys.refused,
            },
            "lookups": self._directory.lookups.show(),
        }


def _make_machine(context: ModuleContext) -> Machine:
    settings: Settings = context.settings
    identity, now = context.identity, boot_clock()
    member = None
    if context.namespace is not None:
        authorities = context.namespace.authorities
        owner = Owner(
            key=identity.public_key_der,
            sign=identity.sign,
            epoch=boot_epoch(),
            lease=settings.lease,
            certificate=(lambda: own_certificate(identity)) if authorities else bytes,
        )
        member = Member(
            namespace_key=context.namespace.key,
            owner=owner,
            majority=context.namespace.kind == "open",
            vouches=vouching(authorities) if authorities else None,
        )
    return Machine(
        identity.node,
        member,
        os.urandom,
        now,
        max_shortcuts=settings.shortcuts,
        long_links=None if settings.long_links == "auto" else settings.long_links,
        leaf=settings.leaf,
    )


def _node(body: JsonObject) -> bytes:
    return bytes.fromhex(body["node"])


def _shown(surveyed: Surveyed) -> JsonObject:
    return {
        "node": surveyed.node.hex(),
        "near": [node.hex() for node in surveyed.near],
        "long": [node.hex() for node in surveyed.long],
        "shortcut": [node.hex() for node in surveyed.shortcut],
        "other": [node.hex() for node in surveyed.other],
    }
