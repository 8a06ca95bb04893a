"""Self-healing, of whole nodes in virtual time: a sender that nobody can place registers again, and is let in.

The receiver's link machine holds the frame, its `Owners` ask the directory, which has lost the record; the topology
machine tells the sender, whose own puts the claim again. Everything is the product's but the bus's far end: actions and
events of the role topology go to the machine directly, as the module hands them on, so that they take virtual time.
"""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Interface, ip_address

import pytest

from benchmarks.overlay_net import full
from benchmarks.overlay_net.members import NAMESPACE_KEY
from ipop_core.bus.api import Call, Event, JsonObject
from ipop_core.bus.client import BusClient
from ipop_core.namespace import Namespace
from ipop_core.testing import memory_bus
from ipop_modules.tincan.card.protocol.ethernet import mac_of
from ipop_modules.tincan.card.protocol.neighbours import Neighbours
from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.tincan.link.protocol import events
from ipop_modules.tincan.link.protocol.events import Endpoint
from ipop_modules.tincan.owners import Owners
from ipop_modules.topology.protocol.machine import Machine
from ipop_modules.topology.protocol.store import Store
from tests.tincan_card.packets import UDP, ethernet, ip4, udp
from tests.tincan_link.test_owners import NoCard
from tests.topology.rings import address, look_up, ring

RENEWAL = 200.0
"""Seconds, less than those after which a sender would register again by itself."""


class Street(full.Network):
    """A receiver and a sender in a ring that have exchanged no packets yet."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.came: list[bytes] = []
        self.unplaced: list[events.Unplaced] = []
        self.displaced = 0
        nodes = [full.whole(node) for node in ring(self, 8)]
        self.here, self.there = nodes[1], nodes[5]
        self.number = 6

    def delivered(self, endpoint: Endpoint, frame: memoryview) -> bool:
        if endpoint == self.here.endpoint:
            self.came.append(bytes(frame))
        return True

    def _take(self, node: full.Node, event: events.Event) -> None:
        if isinstance(event, events.Unplaced):
            self.unplaced.append(event)
        super()._take(node, event)

    def lose_records(self) -> None:
        """Nobody stores anything any more, and nobody says so."""
        for node in self.nodes.values():
            node.machine.storage.store = Store()

    def say(self) -> None:
        packet = ip4(udp(b"here I am"), UDP, source=address(self.number), destination=address(2))
        frame = ethernet(packet, source=mac_of(self.there.id), destination=mac_of(self.here.id))
        self.there.transport.send_card(self.here.id, FRAME_HEADER.pack(CARD, 0, 0, len(frame)) + frame, self.now)
        self.perform(self.there, [])

    async def serve(self, topology: BusClient) -> None:
        async def resolve(call: Call) -> JsonObject:
            text = call.body["address"]
            before = len(self.here.resolved)
            self.resolve(self.here, ip_address(text).packed, fresh=call.body.get("fresh", False))
            self.run_until(lambda: len(self.here.resolved) > before, 2.5)
            found = self.here.resolved[-1]
            node = None if found.node is None else found.node.hex()
            return {"address": text, "node": node, "certain": found.certain, "source": found.source}

        async def status(call: Call) -> JsonObject:
            return {"joined": True, "size_estimate": 8, "neighbours": [], "registered": [], "members": None}

        def displace(event: Event) -> None:
            node, packed = bytes.fromhex(event.body["node"]), ip_address(event.body["address"]).packed
            self.displaced += 1
            self.perform(self.here, self.here.machine.unplaced(node, packed, self.now))

        topology.serve("resolve", resolve)
        topology.serve("status", status)
        await topology.subscribe("link.unplaced", displace)
        topology.started()

    async def live(self, seconds: float) -> float:
        """The sender says something every half second until it is heard; how long that took."""
        begun = self.now
        async with memory_bus() as bus:
            await self.serve(await bus.connect("topology"))
            link = await bus.connect("link")
            owners = Owners(
                link,
                self.here.transport,
                Neighbours(self.here.id, [IPv4Interface("192.168.10.2/24")]),
                NoCard(self.here.id),
                namespace=Namespace("benchmark", "open", NAMESPACE_KEY),
                clock=lambda: self.now,
                after=lambda: self.perform(self.here, []),
            )
            while not self.came and self.now < begun + seconds:
                self.say()
                self.run(0.5)
                for event in self.unplaced:
                    owners.unplaced(event.node, event.frame)
                self.unplaced.clear()
                await asyncio.gather(*owners._tasks)
                await link.request("topology", "status")  # what was published before has arrived, too
            owners.close()
        return self.now - begun


def test_a_sender_that_nobody_can_place_registers_again_and_is_heard() -> None:
    street = Street(1)
    street.lose_records()
    assert look_up(street, street.here, address(street.number)).node is None
    took = asyncio.run(street.live(RENEWAL))
    print(f"heard after {took:.1f} s")
    assert street.came
    assert took < 10.0
    assert street.displaced >= 1
    third = next(node for node in street.nodes.values() if node not in (street.here, street.there))
    assert look_up(street, third, address(street.number)).node == street.there.id


def test_without_being_told_it_stays_unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    street = Street(1)
    street.lose_records()
    monkeypatch.setattr(Machine, "unplaced", lambda self, node, address, now: [])
    asyncio.run(street.live(20.0))
    assert street.displaced >= 1
    assert not street.came
