"""The module: what it serves on the bus and what it listens to."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import Any

from ipop_core.bus.api import Call, Event, JsonObject
from ipop_core.contract import ModuleContext
from ipop_core.errors import BusError, IpopError
from ipop_fullmesh.mesh import Doings, Mesh

LOOKUP_SECONDS = 2.4
CONNECT_SECONDS = 6.0
ADOPT_RETRY = 0.3


@dataclass(frozen=True)
class Settings:
    most: int = 64


def clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class FullMesh:
    def __init__(self, context: ModuleContext) -> None:
        self._bus = context.bus
        self._me = context.identity.node
        self._has_namespace = context.namespace is not None
        key = None if context.namespace is None else context.namespace.key
        self._mesh = Mesh(self._me, key, context.settings.most)
        self._addresses: list[bytes] = []
        self._registered: dict[bytes, tuple[str, str]] = {}
        """By address, its state and its owner as they were told last."""
        self._was_joined = False
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for action in (self.status, self.resolve, self.members, self.survey, self.peer_message):
            self._bus.serve(action.__name__, action)
        await self._bus.subscribe("link.up", self._on_link_up)
        await self._bus.subscribe("link.down", self._on_link_down)
        await self._bus.subscribe("link.card", lambda event: self._on_card(event.body))
        self._spawn(self._adopt())
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
                {"address": str(ip_address(address)), "state": state, "owner": owner or None}
                for address in self._addresses
                for state, owner in [self._registered.get(address, ("waiting", ""))]
            ],
            "members": None,
            "counters": {"dropped": self._mesh.dropped},
        }

    async def resolve(self, call: Call) -> JsonObject:
        if not self._has_namespace:
            raise IpopError("this node is in no namespace, so it knows no addresses")
        text = call.body["address"]
        try:
            address = ip_address(text).packed
        except ValueError:
            raise IpopError(f"address: {text!r} is not an IP address such as 192.168.10.20") from None
        deadline = clock() + LOOKUP_SECONDS
        node, certain = self._mesh.owner(address, clock())
        while not certain and clock() < deadline:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 0.25)
            node, certain = self._mesh.owner(address, clock())
        source = "own" if node == self._me else "directory" if certain else "none"
        shown = None if node is None else node.hex()
        return {"address": text, "node": shown, "certain": certain, "source": source, "lease_s": None}

    async def members(self, _: Call) -> JsonObject:
        """All neighbours: who of them is a member shows when it is asked for its proof."""
        nodes = sorted({*self._mesh.links, self._me})
        return {
            "certain": self._mesh.joined,
            "nodes": [node.hex() for node in nodes],
            "members": [{"node": node.hex(), "name": None, "addresses": []} for node in nodes],
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
        self._do(self._mesh.link_up(bytes.fromhex(event.body["node"]), clock()))

    def _on_link_down(self, event: Event) -> None:
        self._do(self._mesh.link_down(bytes.fromhex(event.body["node"]), clock()))

    def _on_card(self, card: Any) -> None:
        """`card`: as in link.card, or null on a node that has none."""
        self._addresses = [ip_interface(address).ip.packed for address in card["addresses"]] if card else []
        self._do(self._mesh.set_addresses(self._addresses, int(time.time() * 1000), clock()))

    async def _adopt(self) -> None:
        """Take over the links and addresses that the link module has."""
        while True:
            try:
                peers = (await self._bus.request("link", "peers")).body["peers"]
                card = (await self._bus.request("link", "status")).body["card"]
            except BusError:
                await asyncio.sleep(ADOPT_RETRY)
                continue
            for peer in peers:
                if peer["path"] == "direct":
                    self._do(self._mesh.link_up(bytes.fromhex(peer["node"]), clock()))
            self._on_card(card)
            return

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
        for address in self._addresses:
            owner, _ = self._mesh.owner(address, clock())
            known = self._me if owner is None else owner
            told = ("registered" if known == self._me else "taken", known.hex())
            if self._registered.get(address) != told:
                self._registered[address] = told
                body = {"address": str(ip_address(address)), "state": told[0], "owner": told[1]}
                self._bus.publish("topology.registered", body)

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

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
