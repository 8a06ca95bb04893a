"""A socket that is really full: its card's queue is slower than what is sent, until the test lets it go."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from socket import SO_SNDBUF, SOL_SOCKET
from struct import Struct
from typing import Any

import pytest

from ipop_modules.tincan.link import pressure
from ipop_modules.tincan.link.loop import LaneLoop, add_lane, remove_lane
from ipop_modules.tincan.link.pressure import Pressure
from ipop_modules.tincan.link.protocol.backlog import STUCK_AFTER, Load, Unsent
from ipop_modules.tincan.link.sockets import Sockets
from ipop_modules.tincan.link.udp import RECEIVE_SIZE, UdpSocket
from tests.tincan_card.conftest import namespace
from tests.tincan_card.namespace import Namespace

__all__ = ["namespace"]

pytestmark = [pytest.mark.net, pytest.mark.timeout(30)]

SMALL = 16_384
"""Bytes of buffer that are asked for; the kernel doubles them."""
SEGMENT = 1200
SO_MEMINFO, MEMINFO = 55, Struct("=9I")


class Street:
    """Two sockets on a loopback card whose queue is all but closed, and what the card was told."""

    def __init__(self, inside: Namespace) -> None:
        self.inside = inside
        self.queue("add", "300bit")
        self.near, self.far = inside.run(lambda: (UdpSocket.open(0, small=True), UdpSocket.open(0)))
        self.buffer(SMALL)
        self.told: list[bool] = []
        self._telling: asyncio.Future[None] | None = None
        self.now = 0.0
        self.pressure = Pressure(lambda: self.now, self._tell)
        self.sockets = Sockets(self.near, lambda _sock, _number: bool, set, self.pressure)
        endpoint = self.near.endpoint(ip_address("127.0.0.1"), self.far.port)
        assert endpoint is not None
        self.endpoint = endpoint

    def buffer(self, size: int) -> None:
        self.near._socket.setsockopt(SOL_SOCKET, SO_SNDBUF, size)

    def open(self) -> None:
        """Let go what waits in the card's queue."""
        self.queue("change", "10gbit")
        kick = self.far.endpoint(ip_address("127.0.0.1"), self.near.port)
        assert kick is not None
        self.far.transmit(kick, (b"kick",), 4)

    def queue(self, how: str, rate: str) -> None:
        """Give the card a queue (tc-tbf(8)) that is emptied so fast."""
        limits = ["burst", "8k", "limit", "16m"]
        self.inside.ip("link", "set", "lo", "mtu", "65536")
        subprocess.run(
            ["tc", "-n", self.inside.name, "qdisc", how, "dev", "lo", "root", "tbf", "rate", rate, *limits],
            check=True,
        )

    def send(self, mark: bytes, load: Load, count: int = 4) -> bool:
        """Send a train of datagrams; False when it had to be held, or was dropped."""
        train = [mark * 20, bytes(SEGMENT - 20)] * count
        unsent = self.sockets.transmit(self.endpoint, train, SEGMENT)
        if unsent is None:
            return True
        assert unsent is Unsent.FULL
        self.kept = self.sockets.hold(self.endpoint, train, SEGMENT, load)
        return False

    def fill(self) -> int:
        """Send until the socket takes no more; returns how many trains were sent, the held one included."""
        count = 1
        while self.send(b"o", Load.OWN):
            count += 1
            assert count < 1000, "it never fills"
        assert self.kept
        return count

    async def arrivals(self, count: int) -> bytes:
        """The marks of so many datagrams."""
        buffer = memoryview(bytearray(RECEIVE_SIZE))
        marks = b""
        loop = asyncio.get_running_loop()
        while len(marks) < count:
            readable = loop.create_future()
            loop.add_reader(self.far.fileno(), lambda: readable.done() or readable.set_result(None))  # noqa: B023
            await readable
            loop.remove_reader(self.far.fileno())
            while (got := self.far.receive(buffer)) is not None:
                filled, segment, _ = got
                marks += b"".join(bytes(buffer[at : at + 1]) for at in range(0, filled, segment))
        return marks

    async def until(self, told: list[bool]) -> None:
        while self.told != told:
            self._telling = asyncio.get_running_loop().create_future()
            await self._telling

    def _tell(self, is_paused: bool) -> None:
        self.told.append(is_paused)
        if self._telling is not None and not self._telling.done():
            self._telling.set_result(None)


Play = Callable[[Callable[[Street], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=[LaneLoop, asyncio.SelectorEventLoop], ids=["lane", "any"])
def played(request: pytest.FixtureRequest, namespace: Callable[[], Namespace]) -> Play:
    def play(story: Callable[[Street], Coroutine[Any, Any, None]]) -> None:
        street = Street(namespace())

        async def whole() -> None:
            try:
                await story(street)
            finally:
                street.sockets.close()
                street.near.close()
                street.far.close()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(whole())

    return play


def test_what_found_no_room_is_sent_later_and_the_card_waits(played: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressure, "RETRY", 3600.0)

    async def story(street: Street) -> None:
        sent = street.fill()
        assert street.told == [True]
        assert not street.send(b"c", Load.CONTROL, 1)
        street.open()
        await street.until([True, False])
        assert street.send(b"o", Load.OWN)
        marks = await street.arrivals(4 * (sent + 1) + 1)
        assert Counter(marks) == {ord("o"): 4 * (sent + 1), ord("c"): 1}
        assert marks.index(b"c") == 4 * (sent - 1), "it goes before what was held"
        assert dict(street.pressure.counters) == {"full_sockets": 1}

    played(story)


def test_a_little_room_is_for_what_keeps_links_alive(played: Play) -> None:
    """The kernel tells of no room before half of the buffer is free; that would take the queue longer than the test."""

    async def story(street: Street) -> None:
        street.fill()
        street.buffer(2 * SMALL)
        assert not street.send(b"o", Load.OWN)
        held = len(street.near.backlog)
        assert held == 2
        assert not street.send(b"c", Load.CONTROL, 1)
        assert street.kept
        assert len(street.near.backlog) == held, "it was sent at once"
        await street.until([True, False])
        memory = street.near._socket.getsockopt(SOL_SOCKET, SO_MEMINFO, MEMINFO.size)
        assert MEMINFO.unpack(memory)[2] > 2 * SMALL, "more than half is still in use"

    played(story)


def test_the_card_does_not_wait_for_a_stuck_socket_for_ever(played: Play) -> None:
    async def story(street: Street) -> None:
        street.fill()
        assert not street.send(b"c", Load.CONTROL, 1)
        street.now += STUCK_AFTER
        await street.until([True, False])
        assert dict(street.pressure.counters) == {"full_sockets": 1, "drop_full_late": 2}
        assert not street.near.drain(street.now, is_writable=False), "that nothing waits says nothing of room"
        assert not street.send(b"o", Load.OWN)
        assert not street.kept
        assert not street.send(b"k", Load.CONTROL, 1)
        street.open()
        while b"k" not in await street.arrivals(1):
            pass
        assert street.send(b"o", Load.OWN)
        assert street.told == [True, False]

    played(story)


def test_a_stuck_socket_that_takes_something_loses_nothing_again(played: Play) -> None:
    """There is room for a little, of which the kernel does not tell; only a send finds out."""

    async def story(street: Street) -> None:
        street.fill()
        street.now += STUCK_AFTER
        await street.until([True, False])
        assert not street.send(b"o", Load.OWN)
        assert not street.kept
        street.buffer(2 * SMALL)
        assert street.send(b"o", Load.OWN)
        street.fill()
        assert street.told[:3] == [True, False, True]

    played(story)


def test_a_stuck_socket_that_takes_what_keeps_links_alive_is_none(played: Play) -> None:
    async def story(street: Street) -> None:
        street.fill()
        street.now += STUCK_AFTER
        await street.until([True, False])
        street.buffer(2 * SMALL)
        assert not street.send(b"c", Load.CONTROL, 1)
        assert street.kept
        assert len(street.near.backlog) == 0, "it was sent at once"
        assert street.told == [True, False, True]
        assert not street.send(b"o", Load.OWN)
        assert street.kept
        await street.until([True, False, True, False])

    played(story)


def test_a_socket_that_is_full_in_a_turn_of_the_lane_is_tried_again(played: Play) -> None:
    async def story(street: Street) -> None:
        loop = asyncio.get_running_loop()

        def turn() -> bool:
            remove_lane(loop, street.far.fileno())
            street.fill()
            street.buffer(2 * SMALL)
            return False

        add_lane(loop, street.far.fileno(), turn)
        add_lane(loop, street.near.fileno(), lambda: False)
        assert street.send(b"o", Load.OWN)
        await street.until([True, False])
        remove_lane(loop, street.near.fileno())

    played(story)


def test_the_card_does_not_wait_for_a_socket_that_is_closed(played: Play) -> None:
    async def story(street: Street) -> None:
        further = street.sockets._further[1] = street.inside.run(lambda: UdpSocket.open(0, small=True))
        further._socket.setsockopt(SOL_SOCKET, SO_SNDBUF, SMALL)
        street.endpoint = (*street.endpoint, 1)
        street.fill()
        street.sockets._close(1)
        assert street.told == [True, False]
        assert dict(street.pressure.counters) == {"full_sockets": 1, "drop_full_late": 1}

    played(story)
