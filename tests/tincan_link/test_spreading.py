"""Broadcast frames from a member's address, and from one that it only claimed in the directory."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Interface, ip_address
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ipop_core.testing import FakeRole, memory_bus, module_context
from ipop_modules.tincan.card.protocol.ethernet import mac_of
from ipop_modules.tincan.card.protocol.neighbours import Neighbours
from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.tincan.link.protocol.broadcast import Broadcast
from ipop_modules.tincan.link.protocol.events import GroupFrame
from ipop_modules.tincan.owners import Owners
from ipop_modules.tincan.spreading import Spreading
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
                spreading.from_member(street.say(source), street.net.now)
                await until(lambda: bool(heard or here.counters["drop_group_source_address"]))
                assert topology.called("resolve"), "the directory was asked"
            finally:
                spreading.close()
                owners.close()

    asyncio.run(scene())
    assert (len(heard), here.counters["drop_group_source_address"]) == ((1, 0) if passes else (0, 1))
