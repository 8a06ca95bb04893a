"""Broadcast frames from a member's address, and from one that it only claimed in the directory."""

from __future__ import annotations

import asyncio
import random
from ipaddress import IPv4Interface, ip_address
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ipop_core.bus.api import Call, JsonObject
from ipop_core.identity import node_of
from ipop_core.testing import FakeRole, memory_bus, module_context
from ipop_modules.tincan.card.protocol.ethernet import mac_of
from ipop_modules.tincan.card.protocol.neighbours import Neighbours
from ipop_modules.tincan.frames import CARD, FRAME_HEADER, FRAME_HEADER_SIZE
from ipop_modules.tincan.link.protocol.broadcast import Broadcast
from ipop_modules.tincan.link.protocol.events import GroupFrame
from ipop_modules.tincan.owners import Owners
from ipop_modules.tincan.spreading import LIFETIME_PER_MEMBER, Spreading
from tests.authority.makers import Authority, Member, p256

from ..tincan_card.packets import UDP, ethernet, ip4, udp
from .net import Net
from .test_owners import NoCard, until

BROADCAST_MAC = b"\xff" * 6


class Street:
    """A receiver, and a member of the same authority's namespace that speaks to all."""

    def __init__(self, seed: int, own: str, given: str) -> None:
        town = Authority()
        self.net = net = Net(seed)
        self.namespace = town.namespace
        self.own = own
        keys = p256(), p256()
        self.here = Member(net, "10.0.0.1", town.namespace, town.member(keys[0], own), keys[0])
        self.speaker = Member(net, "10.0.0.2", town.namespace, town.member(keys[1], given), keys[1])
        der = keys[1].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.voice = Broadcast(
            self.speaker.id, der, lambda data: keys[1].sign(data, ec.ECDSA(SHA256())), town.namespace.key, 10**15
        )
        self.speaker.machine.contact(self.here.endpoint, None, net.now)
        net.run(1)
        for one, other in ((self.here, self.speaker), (self.speaker, self.here)):
            one.machine.want_member(other.id, net.now)
        net.run(1)

    def say(self, source: str) -> bytes:
        """A broadcast from an address of the speaker's choosing; the body that has come to the receiver."""
        packet = ip4(udp(b"all of you"), UDP, source=ip_address(source).packed, destination=b"\xff" * 4)
        frame = ethernet(packet, source=mac_of(self.speaker.id), destination=BROADCAST_MAC)
        card = FRAME_HEADER.pack(CARD, 0, 0, len(frame)) + frame
        (copy,) = self.voice.originate(card, [self.here.id], lambda _: True, self.net.now)
        self.speaker.machine.send_group(self.here.id, copy.frame, self.net.now)
        self.net.run(0.5)
        (event,) = self.here.of(GroupFrame)
        self.here.events.clear()
        assert isinstance(event, GroupFrame)
        return event.body


@pytest.mark.parametrize(("source", "passes"), [("192.168.10.51", True), ("192.168.10.52", False)])
def test_a_broadcast_from_a_squatted_address_goes_no_further(tmp_path: Path, source: str, passes: bool) -> None:
    """The directory takes anyone's word, so it names the speaker for both; the authority gave it one of them."""
    street = Street(1, "192.168.10.10", "192.168.10.51")
    here, heard = street.here.machine, list[bytes]()

    async def scene() -> None:
        async with memory_bus() as bus:
            node = street.speaker.id.hex()
            members = {"certain": True, "nodes": [node], "members": []}
            named = {"address": source, "node": node, "certain": True, "source": "directory"}
            topology = FakeRole(bus, "topology", {"resolve": named, "members": members})
            await topology.start()
            link = await bus.connect("link")
            card, neighbours = NoCard(street.here.id), Neighbours(street.here.id, [IPv4Interface(f"{street.own}/24")])

            def clock() -> float:
                return street.net.now

            def after() -> None:
                pass

            owners = Owners(link, here, neighbours, card, namespace=street.namespace, clock=clock, after=after)
            spreading = Spreading(
                module_context(None, bus=link, folder=tmp_path, namespace=street.namespace),
                street.namespace,
                here,
                owners,
                card,
                deliver=lambda offload, size, frame: not heard.append(bytes(frame)),
                mtu=1500,
                clock=clock,
                after=after,
            )
            try:
                spreading.from_member(street.speaker.id, street.say(source), street.net.now)
                await until(lambda: bool(heard or here.counters["drop_group_source_address"]))
                assert topology.called("resolve"), "the directory was asked"
            finally:
                spreading.close()
                owners.close()

    asyncio.run(scene())
    assert (len(heard), here.counters["drop_group_source_address"]) == ((1, 0) if passes else (0, 1))


@pytest.mark.parametrize(("given", "revoked", "passes"), [(51, False, True), (52, False, False), (51, True, False)])
def test_who_heard_a_broadcast_needs_no_session_with_its_origin_to_see_its_certificate(
    tmp_path: Path, given: int, revoked: bool, passes: bool
) -> None:
    """The directory shows it; one that was revoked, or that gives another address, is none."""
    town, net, source = Authority(), Net(3), "192.168.10.51"
    keys = p256(), p256()
    certificate = town.member(keys[1], f"192.168.10.{given}")
    lists = [town.revoke(certificate)] if revoked else []
    here = Member(net, "10.0.0.1", town.namespace, town.member(keys[0], "192.168.10.10"), keys[0], lists)
    der = keys[1].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    origin = node_of(keys[1].public_key())
    voice = Broadcast(origin, der, lambda data: keys[1].sign(data, ec.ECDSA(SHA256())), town.namespace.key, 10**15)
    packet = ip4(udp(b"all of you"), UDP, source=ip_address(source).packed, destination=b"\xff" * 4)
    frame = ethernet(packet, source=mac_of(origin), destination=BROADCAST_MAC)
    (copy,) = voice.originate(FRAME_HEADER.pack(CARD, 0, 0, len(frame)) + frame, [here.id], lambda _: True, 0.0)
    heard: list[bytes] = []

    async def scene() -> None:
        async with memory_bus() as bus:
            shown = certificate.public_bytes(Encoding.DER).hex()
            named = {"address": source, "node": origin.hex(), "certain": True, "source": "directory"}
            members = {"certain": True, "nodes": [origin.hex()], "members": []}
            topology = FakeRole(bus, "topology", {"resolve": {**named, "certificate": shown}, "members": members})
            await topology.start()
            link = await bus.connect("link")
            card, neighbours = NoCard(here.id), Neighbours(here.id, [IPv4Interface("192.168.10.10/24")])
            owners = Owners(
                link,
                here.machine,
                neighbours,
                card,
                namespace=town.namespace,
                clock=lambda: net.now,
                after=lambda: None,
            )
            spreading = Spreading(
                module_context(None, bus=link, folder=tmp_path, namespace=town.namespace),
                town.namespace,
                here.machine,
                owners,
                card,
                deliver=lambda offload, size, frame: not heard.append(bytes(frame)),
                mtu=1500,
                clock=lambda: net.now,
                after=lambda: None,
            )
            try:
                spreading.from_member(b"h" * 20, copy.frame[FRAME_HEADER_SIZE:], net.now)
                await until(lambda: bool(heard or here.machine.sessions))
                if passes:
                    assert not here.machine.sessions
                else:
                    assert not heard
            finally:
                spreading.close()
                owners.close()

    asyncio.run(scene())
    assert len(heard) == passes


class Crowd:
    """A directory that lists members page by page, and never all of them for certain."""

    def __init__(self, count: int, page: int) -> None:
        chance = random.Random(count)
        self.nodes = sorted(chance.randbytes(20) for _ in range(count))
        self._page = page

    async def members(self, call: Call) -> JsonObject:
        after = bytes.fromhex(call.body.get("after", ""))
        behind = [node.hex() for node in self.nodes if node > after]
        nodes = behind[: self._page]
        return {"certain": False, "more": len(nodes) < len(behind), "nodes": nodes, "members": []}


def test_the_list_of_a_large_namespace_is_asked_for_once_a_lifetime_and_taken_whole(tmp_path: Path) -> None:
    street, crowd, time = Street(2, "192.168.10.10", "192.168.10.51"), Crowd(4500, 4096), [1000.0]
    here = street.here
    lifetime = LIFETIME_PER_MEMBER * len(crowd.nodes)

    async def scene() -> None:
        async with memory_bus() as bus:
            topology = FakeRole(bus, "topology", {"members": crowd.members})
            await topology.start()
            link = await bus.connect("link")
            card, neighbours = NoCard(here.id), Neighbours(here.id, [IPv4Interface(f"{street.own}/24")])
            owners = Owners(
                link,
                here.machine,
                neighbours,
                card,
                namespace=street.namespace,
                clock=lambda: time[0],
                after=lambda: None,
            )
            spreading = Spreading(
                module_context(None, bus=link, folder=tmp_path, namespace=street.namespace),
                street.namespace,
                here.machine,
                owners,
                card,
                deliver=lambda offload, size, frame: True,
                mtu=1500,
                clock=lambda: time[0],
                after=lambda: None,
            )
            card_frame = memoryview(FRAME_HEADER.pack(CARD, 0, 0, 60) + BROADCAST_MAC + bytes(54))

            async def frames(seconds: float) -> None:
                for _ in range(int(seconds / 10)):
                    sent = here.machine.counters["group_sent"]
                    spreading.from_card(card_frame, time[0])
                    await until(lambda s=sent: here.machine.counters["group_sent"] > s)  # type: ignore[misc]  # mypy can't infer a lambda's default
                    await until(lambda: spreading._listing is None)
                    time[0] += 10

            try:
                await frames(lifetime - 5)
                assert len(topology.called("members")) == 2, "two pages, once"
                assert spreading._members == crowd.nodes
                crowd.nodes[-1] = b"\xff" * 20
                await frames(30)
                assert len(topology.called("members")) == 4
                assert spreading._members == crowd.nodes
                crowd.nodes = crowd.nodes[:10]
                await frames(lifetime + 10)
                assert len(spreading._members) == 4500, "so few at once are doubted"
                await frames(lifetime + 10)
                assert spreading._members == crowd.nodes
            finally:
                spreading.close()
                owners.close()

    asyncio.run(scene())
