"""Segmentation offload of the real kernel: what refuses it, for whom, and until when."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from ipaddress import ip_address
from socket import AF_INET, SO_RCVBUF, SOCK_DGRAM, SOL_SOCKET, socket
from typing import Any

import pytest

from ipop_modules.tincan.link import sockets as further
from ipop_modules.tincan.link.pressure import Pressure
from ipop_modules.tincan.link.protocol.backlog import STUCK_AFTER, Load, Unsent
from ipop_modules.tincan.link.sockets import Sockets
from ipop_modules.tincan.link.udp import PLAIN_SENDS, RECEIVE_SIZE, UdpSocket

SO_NO_CHECK = 11
"""A socket without checksums is refused segmentation: a stand-in for what a route or a policy may do for a while."""


def test_segmentation_that_was_refused_is_tried_again() -> None:
    receiver, sender = UdpSocket.open(0), UdpSocket.open(0)
    endpoint = sender.endpoint(ip_address("127.0.0.1"), receiver.port)
    assert endpoint is not None
    buffer = memoryview(bytearray(RECEIVE_SIZE))

    def sent() -> tuple[int, int]:
        assert sender.transmit(endpoint, [b"h" * 25, b"x" * 1175] * 4, 1200) is None
        got = receiver.receive(buffer)
        while receiver.receive(buffer) is not None:
            pass
        assert got is not None
        return got[:2]

    try:
        assert sent() == (4800, 1200)
        sender._socket.setsockopt(1, SO_NO_CHECK, 1)
        assert sent() == (1200, 1200)
        sender._socket.setsockopt(1, SO_NO_CHECK, 0)
        assert sender.counters["socket_no_segmentation"] == 1
        for _ in range(PLAIN_SENDS + 1):
            if sent() == (4800, 1200):
                break
        else:
            pytest.fail("it is never tried again")
        assert sender.counters["socket_no_segmentation"] == 1
    finally:
        receiver.close()
        sender.close()


def test_a_further_socket_for_which_there_is_no_room_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def full(_loop: asyncio.AbstractEventLoop, descriptor: int, _serve: object) -> None:
        made.append(descriptor)
        if len(made) > 1:
            raise OSError(errno.ENOSPC, "no room for another descriptor")

    async def story() -> None:
        main = UdpSocket.open(0)
        monkeypatch.setattr(further, "add_lane", full)
        monkeypatch.setattr(further, "remove_lane", lambda _loop, _descriptor: None)
        sockets = Sockets(main, lambda _sock, _number: bool, set, Pressure(time.monotonic, lambda _is_paused: None))
        endpoint = main.endpoint(ip_address("127.0.0.1"), 9)
        assert endpoint is not None
        assert sockets.branch(endpoint, 4) == [(*endpoint, 1)]
        assert len(sockets) == 2
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(made[1])
        sockets.close()
        main.close()

    asyncio.run(story())


def test_a_further_socket_that_carries_traffic_is_large_and_its_losses_count() -> None:
    async def story() -> None:
        main, flood = UdpSocket.open(0), UdpSocket.open(0)
        sockets = Sockets(main, lambda _sock, _number: bool, set, Pressure(time.monotonic, lambda _is_paused: None))
        endpoint = main.endpoint(ip_address("127.0.0.1"), flood.port)
        assert endpoint is not None
        (branch,) = sockets.branch(endpoint, 1)
        sock = sockets._further[branch[-1]]
        small = sock._socket.getsockopt(SOL_SOCKET, SO_RCVBUF)
        sockets.enlarge(endpoint)
        sockets.enlarge(branch)
        assert sock._socket.getsockopt(SOL_SOCKET, SO_RCVBUF) > small
        sock._socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 0)
        target = main.endpoint(ip_address("127.0.0.1"), sock.port)
        assert target is not None
        for _ in range(50):
            flood.transmit(target, [bytes(1000)], 1000)
        lost = sockets.overflow
        assert 0 < lost < 50
        sockets.close()
        assert sockets.overflow == lost
        main.close()
        flood.close()

    asyncio.run(story())


NARROW = """
from ipaddress import ip_address
from ipop_modules.tincan.link.udp import UdpSocket
sock = UdpSocket.open(0)
def passes(segment):
    endpoint = sock.endpoint(ip_address("127.0.0.1"), sock.port)
    return sock.transmit(endpoint, [bytes(25), bytes(segment - 25)] * 4, segment)
print(passes(8972), passes(1400), dict(sock.counters))
print(sock.receive(memoryview(bytearray(65536)))[:2])
"""


@pytest.mark.net
def test_segments_that_the_card_takes_not_change_nothing_for_others() -> None:
    command = ["unshare", "--net", "sh", "-ec", 'ip link set lo mtu 1500 up; exec "$0" -c "$1"', sys.executable, NARROW]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert out.splitlines() == ["Unsent.TOO_LONG None {'socket_too_long': 1}", "(5600, 1400)"]


TO, NOWHERE = ("192.0.2.1", 9), ("192.0.2.2", 9)


class Scarce(socket):
    """A socket that has room for `room` datagrams more, and maybe no segmentation: a send that it takes is noted."""

    def __init__(self) -> None:
        super().__init__(AF_INET, SOCK_DGRAM)
        self.room = 0
        self.refuses: int | None = None
        """What a send with segmentation ends in."""
        self.sent: list[bytes] = []

    def sendmsg(self, buffers: Iterable[Any], ancillary: Any = (), flags: int = 0, address: Any = None) -> int:
        if address == NOWHERE:
            raise OSError(errno.ENETUNREACH, "no route")
        data = b"".join(buffers)
        size = int.from_bytes(ancillary[0][2], sys.byteorder) if ancillary else len(data)
        assert len(data) <= 65_507
        if ancillary and self.refuses is not None:
            raise OSError(self.refuses, "no segmentation")
        count = -(-len(data) // size)
        assert count <= 64
        if self.fileno() < 0:
            raise OSError(errno.EBADF, "closed")
        if count > self.room:
            raise BlockingIOError(errno.EAGAIN, "full")
        self.room -= count
        self.sent += [data[at : at + size] for at in range(0, len(data), size)]
        return len(data)


TRAIN = [bytes([number, part]) * 300 for number in range(46) for part in range(2)]
DATAGRAMS = [TRAIN[at] + TRAIN[at + 1] for at in range(0, len(TRAIN), 2)]


def sent_in_turns(sock: Scarce, udp: UdpSocket, room: int, load: Load = Load.OWN) -> int:
    """Send the train by a socket that gets room for so many datagrams in each round; how many rounds that took."""
    sock.room = room
    unsent, rounds = udp.transmit(TO, TRAIN, 1200), 1
    if unsent is not None:
        assert unsent is Unsent.FULL
        assert udp.hold(TO, TRAIN, 1200, load, 0.0)
        is_done = False
        while not is_done:
            sock.room = room
            is_done = udp.drain(0.0, is_writable=True)
            rounds += 1
            assert rounds < 20, "it never ends"
    return rounds


@pytest.mark.parametrize("load", [Load.OWN, Load.CONTROL])
def test_without_segmentation_a_train_goes_in_as_many_rounds_as_there_is_room_for(load: Load) -> None:
    with Scarce() as sock:
        udp = UdpSocket(sock, small=True)
        udp._plain = PLAIN_SENDS
        assert sent_in_turns(sock, udp, 20, load) == 3
        assert sock.sent == DATAGRAMS
        assert udp._plain == PLAIN_SENDS, "a send that found no room is not counted"


@pytest.mark.parametrize("error", [errno.EIO, errno.EMSGSIZE], ids=errno.errorcode.get)
@pytest.mark.parametrize("room", [0, 20])
def test_segmentation_that_is_refused_where_there_is_no_room_loses_nothing(error: int, room: int) -> None:
    with Scarce() as sock:
        sock.refuses = error
        udp = UdpSocket(sock, small=True)
        assert udp.transmit(TO, TRAIN, 1200) is Unsent.FULL
        assert udp.hold(TO, TRAIN, 1200, Load.OWN, 0.0)
        for _ in range(3):
            sock.room = room or 46
            udp.drain(0.0, is_writable=True)
        assert sock.sent == DATAGRAMS
        assert dict(udp.counters) == {"socket_no_segmentation": 1}


def test_what_is_held_of_a_block_goes_in_as_many_sends_as_it_takes() -> None:
    with Scarce() as sock:
        udp = UdpSocket(sock, small=True)
        block = [bytes([number]) * 700 for number in range(100)]
        assert udp.transmit(TO, block[:64], 700) is Unsent.FULL
        assert udp.hold(TO, block, 700, Load.OWN, 0.0)
        sock.room = 70
        assert not udp.drain(STUCK_AFTER, is_writable=True)
        assert udp.backlog.give_up(STUCK_AFTER) == 0, "it has taken a part"
        sock.room = 70
        assert udp.drain(STUCK_AFTER, is_writable=True)
        assert sock.sent == block


def test_what_can_not_be_sent_at_all_is_no_sign_of_room() -> None:
    with Scarce() as sock:
        udp = UdpSocket(sock, small=True)
        for endpoint in (TO, NOWHERE):
            assert udp.hold(endpoint, [b"control"], 7, Load.CONTROL, 0.0)
        assert udp.counters["socket_unreachable"] == 1
        assert udp.backlog.give_up(STUCK_AFTER) == 1
        assert udp.hold(NOWHERE, [b"control"], 7, Load.CONTROL, 4.0)
        assert udp.backlog.is_stuck
        assert udp.hold(TO, [b"control"], 7, Load.CONTROL, 4.0)
        assert not udp.drain(4.0, is_writable=False)
        assert udp.backlog.is_stuck
        sock.room = 1
        assert udp.drain(4.0, is_writable=False)
        assert not udp.backlog.is_full


def test_nothing_is_held_once_the_socket_is_closed() -> None:
    udp = UdpSocket(Scarce(), small=True)
    assert udp.transmit(TO, TRAIN, 1200) is Unsent.FULL
    assert udp.hold(TO, TRAIN, 1200, Load.OWN, 0.0)
    udp.close()
    assert udp.transmit(TO, TRAIN, 1200) is None
    assert dict(udp.counters) == {"socket_failed": 1}
