"""What one member can bring about by handing over broadcast frames: whose go on, who asks the directory, who waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from ipaddress import IPv4Interface, ip_address
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ipop_core.bus.api import Call, JsonObject
from ipop_core.testing import FakeRole, memory_bus, module_context
from ipop_modules.tincan.card.protocol.ethernet import mac_of
from ipop_modules.tincan.card.protocol.neighbours import Neighbours
from ipop_modules.tincan.frames import CARD, FRAME_HEADER, FRAME_HEADER_SIZE
from ipop_modules.tincan.link.protocol.broadcast import Broadcast
from ipop_modules.tincan.owners import Owners
from ipop_modules.tincan.spreading import LOOKUPS_AT_ONCE, MAX_OF_ONE, MAX_WAITING, Spreading
from tests.authority.makers import p256

from ..tincan_card.packets import UDP, ethernet, ip4, udp
from .net import OPEN, Net
from .test_owners import NoCard, until

BROADCAST_MAC = b"\xff" * 6
OWN = IPv4Interface("192.168.10.1/24")
HANDING, OTHER = (letter * 20 for letter in (b"h", b"o"))


class Voice:
    """Somebody who signs broadcast frames."""

    def __init__(self) -> None:
        key = p256()
        der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.id = sha256(der).digest()[:20]
        sign = lambda data: key.sign(data, ec.ECDSA(SHA256()))  # noqa: E731
        self._broadcast = Broadcast(self.id, der, sign, OPEN.key, 10**15)

    def say(self, source: str, to: bytes, now: float) -> bytes:
        """The body of a frame from an address, as it comes to a member."""
        packet = ip4(udp(b"all of you"), UDP, source=ip_address(source).packed, destination=b"\xff" * 4)
        frame = ethernet(packet, source=mac_of(self.id), destination=BROADCAST_MAC)
        card = FRAME_HEADER.pack(CARD, 0, 0, len(frame)) + frame
        (copy,) = self._broadcast.originate(card, [to], lambda _: True, now)
        return copy.frame[FRAME_HEADER_SIZE:]


class Square:
    """A member that hears broadcasts, and its directory."""

    def __init__(self) -> None:
        self.net = Net(1)
        self.here = self.net.peer("10.0.0.1", [str(OWN.ip)], OPEN)
        self.counters = self.here.machine.counters
        self.members = [self.here.id, HANDING, OTHER]
        self.is_certain = True
        self.owner: bytes | None = None
        self.answers = asyncio.Event()
        """Whether the directory says who owns an address."""
        self.answers.set()
        self.time = 1000.0
        self.heard: list[bytes] = []

    async def _members(self, _: Call) -> JsonObject:
        return {"certain": self.is_certain, "nodes": [node.hex() for node in sorted(self.members)], "members": []}

    async def _resolve(self, call: Call) -> JsonObject:
        await self.answers.wait()
        node = None if self.owner is None else self.owner.hex()
        return {"address": call.body["address"], "node": node, "certain": True, "source": "directory"}

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Spreading]:
        async with memory_bus() as bus:
            self.topology = FakeRole(bus, "topology", {"resolve": self._resolve, "members": self._members})
            await self.topology.start()
            link = await bus.connect("link")
            card, neighbours = NoCard(self.here.id), Neighbours(self.here.id, [OWN])
            owners = Owners(
                link,
                self.here.machine,
                neighbours,
                card,
                namespace=OPEN,
                clock=lambda: self.time,
                after=lambda: None,
            )
            self.spreading = Spreading(
                module_context(None, bus=link, folder=folder, namespace=OPEN),
                OPEN,
                self.here.machine,
                owners,
                card,
                deliver=lambda offload, size, frame: not self.heard.append(bytes(frame)),
                mtu=1500,
                clock=lambda: self.time,
                after=lambda: None,
            )
            try:
                yield self.spreading
            finally:
                self.spreading.close()
                owners.close()

    def hand_over(self, voice: Voice, source: str, member: bytes = HANDING) -> None:
        self.spreading.from_member(member, voice.say(source, self.here.id, self.time), self.time)

    async def still(self) -> None:
        """Nothing waits any more."""
        await until(lambda: not self.spreading._waiting and self.spreading._listing is None)


def test_frames_that_no_member_signed_go_nowhere_and_nobody_is_asked_about_them(tmp_path: Path) -> None:
    square = Square()
    strangers = [Voice() for _ in range(3)]

    async def scene() -> None:
        async with square.open(tmp_path):
            for number in range(30):
                square.hand_over(strangers[number % 3], f"10.9.0.{number}")
                await square.still()
            assert square.counters["drop_group_stranger"] == 30
            assert not square.topology.called("resolve")
            assert len(square.topology.called("members")) == 1
            assert not {HANDING, OTHER} & set(square.here.machine.sessions), "no copies of them go on"

    asyncio.run(scene())


def test_a_newcomers_first_frame_waits_for_a_newer_list(tmp_path: Path) -> None:
    square, newcomer = Square(), Voice()
    square.owner = newcomer.id

    async def scene() -> None:
        async with square.open(tmp_path):
            square.hand_over(Voice(), "10.9.0.1")
            await square.still()
            square.members.append(newcomer.id)
            square.time += 1.1
            square.hand_over(newcomer, "192.168.10.20")
            await square.still()
            assert len(square.heard) == 1
            assert len(square.topology.called("members")) == 2

    asyncio.run(scene())


def test_each_member_that_hands_frames_over_has_its_share_of_the_questions(tmp_path: Path) -> None:
    square = Square()
    square.is_certain = False
    voices = [Voice() for _ in range(3)]

    async def scene() -> None:
        async with square.open(tmp_path):
            for number in range(150):
                square.hand_over(voices[number % 2], f"10.9.0.{number}")
                await square.still()
            assert len(square.topology.called("resolve")) == LOOKUPS_AT_ONCE
            assert square.counters["drop_group_lookup_limit"] == 150 - LOOKUPS_AT_ONCE
            square.owner = voices[2].id
            square.hand_over(voices[2], "192.168.10.20", OTHER)
            await square.still()
            assert len(square.heard) == 1

    asyncio.run(scene())


def test_frames_that_wait_leave_places_for_other_members_and_for_this_nodes_own(tmp_path: Path) -> None:
    square = Square()
    square.answers.clear()
    crowd = [bytes([number]) * 20 for number in range(1, 1 + MAX_WAITING // MAX_OF_ONE)]
    voice = Voice()
    square.members += [voice.id, *crowd]

    async def scene() -> None:
        async with square.open(tmp_path) as spreading:
            card_frame = memoryview(FRAME_HEADER.pack(CARD, 0, 0, 60) + BROADCAST_MAC + bytes(54))
            spreading.from_card(card_frame, square.time)
            await until(lambda: square.counters["group_sent"] == 1)
            for count, member in enumerate(crowd, start=1):
                for number in range(MAX_OF_ONE + 1):
                    square.hand_over(voice, f"10.9.{count}.{number}", member)
                    square.time += 0.02
                await until(lambda n=count: square.counters["drop_group_waiting"] == n)  # type: ignore[misc]  # mypy can't infer a lambda's default
                assert spreading._waiting[member] == MAX_OF_ONE
            square.hand_over(voice, "10.9.99.1", OTHER)
            await until(lambda: square.counters["drop_group_waiting"] == len(crowd) + 1)
            spreading.from_card(card_frame, square.time)
            await until(lambda: square.counters["group_sent"] == 2)
            square.answers.set()
            await square.still()

    asyncio.run(scene())


def test_a_burst_of_one_members_frames_before_the_first_list_comes_through(tmp_path: Path) -> None:
    square, voice = Square(), Voice()
    square.members.append(voice.id)
    square.owner = voice.id

    async def scene() -> None:
        async with square.open(tmp_path):
            for _ in range(40):
                square.hand_over(voice, "192.168.10.20", voice.id)
            await square.still()
            await until(lambda: len(square.heard) == 40)

    asyncio.run(scene())
