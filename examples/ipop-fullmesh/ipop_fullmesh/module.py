"""The module: what it serves on the bus and what it listens to."""

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from ipop_core.bus.api import Call, Event, JsonObject
from ipop_core.contract import ModuleContext
from ipop_core.errors import BusError, IpopError
from ipop_fullmesh.mesh import Doings, Mesh
from ipop_fullmesh.names import read_name
from ipop_fullmesh.profile import Subject

LOOKUP_SECONDS = 2.4
CONNECT_SECONDS = 6.0
ADOPT_RETRY = 0.3
LOOK_AGAIN = 0.25
ANSWER_BEFORE = 0.1
"""Seconds before an asker's patience ends."""


@dataclass(frozen=True)
class Settings:
    most: int = 64
    name: str | None = None


def clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def unix_ms() -> int:
    return int(time.time() * 1000)


class FullMesh:
    def __init__(self, context: ModuleContext) -> None:
        self._bus = context.bus
        self._me = context.identity.node
        self._has_namespace = context.namespace is not None
        key = None if context.namespace is None else context.namespace.key
        self._mesh = Mesh(self._me, key, context.settings.most, os.urandom)
        self._name = None if context.settings.name is None else read_name(context.settings.name)
        self._addresses: list[bytes] = []
        self._registered: dict[Subject, tuple[str, str]] = {}
        """By address or name, its state and its owner as they were told last."""
        self._was_joined = False
        self._meanwhile: dict[bytes, bool] = {}
        """While the list of all links is being asked for, those that came or went."""
        self._adopting: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        actions = (self.status, self.resolve, self.resolve_name, self.allocate, self.members, self.survey)
        for action in (*actions, self.peer_message):
            self._bus.serve(action.__name__, action)
        self._mesh.set_name(self._name, unix_ms(), clock())
        await self._bus.subscribe("link.up", self._on_link_up)
        await self._bus.subscribe("link.down", self._on_link_down)
        await self._bus.subscribe("link.card", lambda event: self._on_card(event.body))
        await self._bus.subscribe("core.module", self._on_module)
        self._adopting = self._spawn(self._adopt())
        self._spawn(self._keep_telling())

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def reconfigure(self, settings: Settings) -> None:
        """Nothing is taken while running."""

    # What others ask.

    async def status(self, _: Call) -> JsonObject:
        return {
            "joined": self._mesh.joined,
            "size_estimate": len(self._mesh.links) + 1,
            "neighbours": [{"node": node.hex(), "kind": "mesh"} for node in sorted(self._mesh.links)],
            "registered": [
                {"address": str(ip_address(address)), **self._claim(address)} for address in self._addresses
            ],
            "name": None if self._name is None else {"name": self._name, **self._claim(self._name)},
            "members": len(self._mesh.members()) - 1 if self._has_namespace else None,
            "counters": {"dropped": self._mesh.dropped},
        }

    async def resolve(self, call: Call) -> JsonObject:
        text = call.body["address"]
        try:
            address = ip_address(text).packed
        except ValueError:
            raise IpopError(f"address: {text!r} is not an IP address such as 192.168.10.20") from None
        return {"address": text, **_found(*await self._look_up(address), self._me)}

    async def resolve_name(self, call: Call) -> JsonObject:
        try:
            name = read_name(call.body["name"])
        except ValueError as error:
            raise IpopError(f"name: {error}") from None
        node, certain = await self._look_up(name)
        _, addresses = self._mesh.members().get(node or b"", (None, []))
        return {"name": name, "addresses": _shown(addresses), **_found(node, certain, self._me)}

    async def allocate(self, call: Call) -> JsonObject:
        if not self._has_namespace:
            raise IpopError("this node is in no namespace, so it gets no address")
        text, wanted = call.body["network"], call.body.get("wanted")
        try:
            network = ip_network(text)
            before = None if wanted is None else ip_address(wanted).packed
        except ValueError as error:
            raise IpopError(f"allocate: {error}; expected a network such as 192.168.10.0/24") from None
        deadline = clock() + call.timeout - ANSWER_BEFORE
        self._do(self._mesh.allocate(network, before, unix_ms(), clock()))
        address, certain = self._mesh.allocated(clock())
        while not certain and clock() < deadline:
            await self._wait()
            self._do(self._mesh.settle(unix_ms(), clock()))
            address, certain = self._mesh.allocated(clock())
        if address is None:
            raise IpopError(f"no address of {network} is free")
        if not certain:
            raise IpopError("it is not known yet whether an address is free: ask again, the claim goes on meanwhile")
        return {"address": f"{ip_address(address)}/{network.prefixlen}"}

    async def members(self, _: Call) -> JsonObject:
        known = sorted(self._mesh.members().items())
        return {
            "certain": self._mesh.joined,
            "nodes": [node.hex() for node, _ in known],
            "members": [
                {"node": node.hex(), "name": name, "addresses": _shown(addresses)} for node, (name, addresses) in known
            ],
        }

    async def survey(self, call: Call) -> JsonObject:
        if bytes.fromhex(call.body.get("node", self._me.hex())) != self._me:
            raise IpopError("in a full mesh every node is a neighbour: ask for this one")
        return {"node": self._me.hex(), "near": [], "long": [], "other": [node.hex() for node in self._mesh.links]}

    async def peer_message(self, call: Call) -> JsonObject:
        if call.body["mode"] == "session":
            sender = bytes.fromhex(call.body["sender"])
            self._do(self._mesh.receive(sender, call.frames[0], clock()))
        return {}

    # What the link module says.

    def _on_link_up(self, event: Event) -> None:
        node = bytes.fromhex(event.body["node"])
        self._note(node, is_up=True)
        self._do(self._mesh.link_up(node, clock()))

    def _on_link_down(self, event: Event) -> None:
        node = bytes.fromhex(event.body["node"])
        self._note(node, is_up=False)
        self._do(self._mesh.link_down(node, clock()))

    def _note(self, node: bytes, *, is_up: bool) -> None:
        if self._adopting is not None and not self._adopting.done():
            self._meanwhile[node] = is_up

    def _on_module(self, event: Event) -> None:
        """Links that ended while the link module was away are told of by nobody."""
        if event.body["state"] == "running" and (self._adopting is None or self._adopting.done()):
            self._adopting = self._spawn(self._adopt())

    def _on_card(self, card: Any) -> None:
        """`card`: as in link.card, or null on a node that has none."""
        self._addresses = [ip_interface(address).ip.packed for address in card["addresses"]] if card else []
        self._do(self._mesh.set_addresses(self._addresses, unix_ms(), clock()))

    async def _adopt(self) -> None:
        """Take over the links and addresses that the link module has."""
        while True:
            self._meanwhile.clear()
            try:
                peers = (await self._bus.request("link", "peers")).body["peers"]
                card = (await self._bus.request("link", "status")).body["card"]
            except BusError:
                await asyncio.sleep(ADOPT_RETRY)
                continue
            up = {bytes.fromhex(peer["node"]): True for peer in peers if peer["path"] == "direct"} | self._meanwhile
            self._do(self._mesh.relink([node for node, is_up in up.items() if is_up], clock()))
            self._on_card(card)
            return

    # Looking.

    async def _look_up(self, subject: Subject) -> tuple[bytes | None, bool]:
        """Who owns it, and whether that is certain: it waits a while until it is."""
        if not self._has_namespace:
            raise IpopError("this node is in no namespace, so it knows no addresses")
        deadline = clock() + LOOKUP_SECONDS
        found = self._mesh.owner(subject, clock())
        while not found[1] and clock() < deadline:
            await self._wait()
            found = self._mesh.owner(subject, clock())
        return found

    async def _wait(self) -> None:
        """Until something has changed, or a little while."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), LOOK_AGAIN)

    def _claim(self, subject: Subject) -> JsonObject:
        state, owner = self._registered.get(subject, ("waiting", ""))
        return {"state": state, "owner": owner or None}

    # Doing.

    def _do(self, doings: Doings) -> None:
        if doings.news:
            self._push_routes()
        for node, data in doings.send:
            self._bus.notify("link", "send", {"to": node.hex(), "mode": "link", "role": "topology"}, [data])
        for node, via in doings.connect:
            self._spawn(self._connect(node, via))
        if doings.news:
            self._tell()
            self._changed.set()

    def _push_routes(self) -> None:
        hops = [{"node": node.hex(), "next": node.hex()} for node in sorted(self._mesh.links)]
        self._bus.notify("link", "routes", {"member": True, "routes": hops})

    def _tell(self) -> None:
        if not self._mesh.joined:
            return
        if not self._was_joined:
            self._was_joined = True
            self._bus.publish("topology.joined", {"neighbours": [node.hex() for node in self._mesh.links]})
        subjects: list[Subject] = [*self._addresses, *([self._name] if self._name and self._addresses else [])]
        for subject in subjects:
            owner, _ = self._mesh.owner(subject, clock())
            known = self._me if owner is None else owner
            told = ("registered" if known == self._me else "taken", known.hex())
            if self._registered.get(subject) != told:
                self._registered[subject] = told
                what = {"name": subject} if isinstance(subject, str) else {"address": str(ip_address(subject))}
                self._bus.publish("topology.registered", {**what, "state": told[0], "owner": told[1]})

    async def _connect(self, node: bytes, via: bytes) -> None:
        body = {"node": node.hex(), "kind": "mesh", "via": via.hex()}
        try:
            await self._bus.request("link", "connect", body, timeout=CONNECT_SECONDS)
        except BusError:
            return  # it is tried again while somebody is linked to it

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(max(0.1, self._mesh.next_wake() - clock()))
            self._do(self._mesh.wake(clock()))

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _found(node: bytes | None, certain: bool, me: bytes) -> JsonObject:
    source = "own" if node == me else "directory" if certain else "none"
    return {"node": None if node is None else node.hex(), "certain": certain, "source": source, "lease_s": None}


def _shown(addresses: list[bytes]) -> list[str]:
    return [str(ip_address(address)) for address in addresses]
