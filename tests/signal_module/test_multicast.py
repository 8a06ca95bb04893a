"""The groups of a network, heard over real cards that come and go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from ipop_modules.signal.multicast import GROUP, GROUP6, PORT, Multicast
from tests.tincan_card.namespace import Namespace

pytestmark = pytest.mark.net

OURS, THEIRS = ("192.0.2.1", "2001:db8::1"), ("192.0.2.2", "2001:db8::2")


@pytest.fixture
def ends() -> Iterator[tuple[Namespace, Namespace]]:
    here, there = Namespace(), Namespace()
    yield here, there
    here.close()
    there.close()


def plug(here: Namespace, there: Namespace) -> None:
    """One card in each, with a cable between the two."""
    here.ip("link", "add", "lan0", "type", "veth", "peer", "name", "lan0", "netns", there.name)
    for end, (address, address6) in ((here, OURS), (there, THEIRS)):
        end.ip("link", "set", "lan0", "up")
        end.ip("address", "add", f"{address}/24", "dev", "lan0")
        end.ip("address", "add", f"{address6}/64", "dev", "lan0", "nodad")


def unplug(here: Namespace) -> None:
    here.ip("link", "del", "lan0")


def say(there: Namespace, text: bytes) -> None:
    """One datagram to each group."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(THEIRS[0]))
            sock.sendto(text, (GROUP, PORT))
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind((THEIRS[1], 0))
            sock.sendto(text, (GROUP6, PORT, 0, socket.if_nametoindex("lan0")))

    there.run(send)


def test_a_card_that_comes_back_is_heard_again(ends: tuple[Namespace, Namespace]) -> None:
    here, there = ends

    async def story() -> None:
        heard: asyncio.Queue[tuple[bytes, str]] = asyncio.Queue()
        group = Multicast(lambda data, sender: heard.put_nowait((data, sender)))
        await group.open()
        for number in range(25):
            text = b"%d" % number
            plug(here, there)
            if not group.join(OURS):
                await group.open()
                assert group.join(OURS), "more often than the kernel takes memberships"
            say(there, text)
            found = {await asyncio.wait_for(heard.get(), 5.0) for _ in range(2)}
            assert found == {(text, sender) for sender in THEIRS}
            unplug(here)
        group.close()

    here.run(lambda: asyncio.run(story()))


def test_what_is_sent_comes_from_the_addresses_that_were_given(ends: tuple[Namespace, Namespace]) -> None:
    here, there = ends
    plug(here, there)

    async def listen() -> None:
        heard: asyncio.Queue[tuple[bytes, str]] = asyncio.Queue()
        group = Multicast(lambda data, sender: heard.put_nowait((data, sender)))
        await group.open()
        assert group.join(OURS)
        await asyncio.to_thread(there.run, lambda: asyncio.run(announce()))
        assert {await asyncio.wait_for(heard.get(), 5.0) for _ in range(2)} == {(b"here", at) for at in THEIRS}
        group.close()

    async def announce() -> None:
        group = Multicast(lambda data, sender: None)
        await group.open()
        group.send(b"here", [*THEIRS, "203.0.113.1", "2001:db8:99::1"])
        group.close()

    here.run(lambda: asyncio.run(listen()))
