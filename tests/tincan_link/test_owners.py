"""An address changes hands: who has it now may send from it, who had it may not, and the table follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Interface, ip_address

from ipop_core.bus.api import Call, JsonObject
from ipop_core.namespace import Namespace
from ipop_core.testing import FakeRole, memory_bus
from ipop_modules.tincan.card.protocol.ethernet import mac_of
from ipop_modules.tincan.card.protocol.neighbours import Neighbours
from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.tincan.link.protocol.events import MemberProven, Unplaced
from ipop_modules.tincan.owners import CONTEST_INTERVAL, Owners

from ..tincan_card.packets import ethernet, ip4, udp
from .net import OPEN, Net, Peer
from .test_machine import link

LIMIT = 30.0
TEXT = "192.168.10.2"
ADDRESS = ip_address(TEXT).packed
OWN = IPv4Interface("192.168.10.1/24")


class NoCard:
    """Nothing is written here: the kernel has asked for nothing."""

    name = "tapipop"

    def __init__(self, node: bytes) -> None:
        self.mac = mac_of(node)
        self.written: list[bytes] = []

    def fileno(self) -> int:
        return -1

    def write(self, offload: int, size: int, frame: memoryview) -> bool:
        self.written.append(bytes(frame))
        return True


class Street:
    """A receiver with its `Owners`, and two peers that both say that they have one address."""

    def __init__(self, seed: int, namespace: Namespace = OPEN) -> None:
        self.net = net = Net(seed)
        self.here = net.peer("10.0.0.1", [str(OWN.ip)], namespace)
        self.first, self.second = (net.peer(f"10.0.0.{i}", [TEXT], namespace) for i in (2, 3))
        self.neighbours = Neighbours(self.here.id, [OWN])
        self.owner: bytes | None = None
        for peer in (self.first, self.second):
            link(net, peer, self.here)

    def send(self, peer: Peer) -> int:
        """A datagram from the address at issue; how many have come to the receiver's card because of it."""
        before = len(self.here.card)
        packet = ip4(udp(b"here I am"), 17, source=ADDRESS, destination=OWN.packed)
        body = ethernet(packet, source=mac_of(peer.id), destination=mac_of(self.here.id))
        peer.machine.send_card(self.here.id, FRAME_HEADER.pack(CARD, 0, 0, len(body)) + body, self.net.now)
        self.net.run(0.3)
        return len(self.here.card) - before

    async def answer(self, call: Call) -> JsonObject:
        self.asked.append(bool(call.body.get("fresh")))
        node = None if self.owner is None else self.owner.hex()
        return {"address": call.body["address"], "node": node, "certain": True, "source": "directory", "lease_s": 60.0}

    @asynccontextmanager
    async def owners(self) -> AsyncIterator[Owners]:
        self.asked: list[bool] = []
        async with memory_bus() as bus:
            topology = FakeRole(bus, "topology", {"resolve": self.answer})
            await topology.start()
            owners = Owners(
                await bus.connect("link"),
                self.here.machine,
                self.neighbours,
                NoCard(self.here.id),
                namespace=OPEN,
                clock=lambda: self.net.now,
                after=lambda: None,
            )
            try:
                yield owners
            finally:
                owners.close()

    def tell(self, owners: Owners) -> None:
        """What the receiver's machine has found out."""
        for event in self.here.events:
            if isinstance(event, MemberProven):
                owners.confirm(event.node)
            elif isinstance(event, Unplaced):
                owners.unplaced(event.node, event.frame)
        self.here.events.clear()

    def may_send(self, peer: Peer) -> bool:
        source = self.here.machine.sessions[peer.id].source
        frame = ethernet(ip4(b"", 17, source=ADDRESS), source=mac_of(peer.id), destination=mac_of(self.here.id))
        return source is not None and not source.refusal(memoryview(frame))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not true():  # noqa: ASYNC110 - nothing tells when the tasks of `Owners` are through
            await asyncio.sleep(0)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await scene()

    asyncio.run(main())


def test_an_address_that_changed_hands_is_its_new_owners_alone() -> None:
    street = Street(1)

    async def scene() -> None:
        async with street.owners() as owners:
            street.owner = street.first.id
            street.send(street.first)
            street.tell(owners)
            await until(lambda: street.may_send(street.first))
            assert street.asked == [False]
            street.owner = street.second.id
            street.send(street.second)
            street.tell(owners)
            await until(lambda: street.may_send(street.second))
            assert street.asked == [False, True], "the table named another: the directory was asked past its cache"
            assert street.neighbours.owner(ADDRESS) == street.second.id
            assert not street.may_send(street.first)
            assert (street.send(street.first), street.send(street.second)) == (0, 1)

    play(scene)


def test_who_only_says_so_gets_nothing_and_costs_one_question_an_interval() -> None:
    street = Street(2)

    async def scene() -> None:
        async with street.owners() as owners:
            street.owner = street.first.id
            street.send(street.first)
            street.tell(owners)
            await until(lambda: street.may_send(street.first))
            for _ in range(100):
                assert not await owners.owns(street.second.id, ADDRESS)
            assert street.asked == [False, True]
            street.net.run(CONTEST_INTERVAL)
            assert not await owners.owns(street.second.id, ADDRESS)
            assert street.asked == [False, True, True]
            assert street.may_send(street.first)
            assert street.neighbours.owner(ADDRESS) == street.first.id

    play(scene)


def test_a_kernels_question_takes_it_from_the_former_owner_too() -> None:
    street = Street(3)

    async def scene() -> None:
        async with street.owners() as owners:
            street.owner = street.first.id
            street.send(street.first)
            street.tell(owners)
            await until(lambda: street.may_send(street.first))
            street.owner = street.second.id
            await owners._resolve(ADDRESS)
            assert street.neighbours.owner(ADDRESS) == street.second.id
            assert not street.may_send(street.first)

    play(scene)
