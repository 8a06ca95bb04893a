"""Segmentation offload of the real kernel: what refuses it, for whom, and until when."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from ipaddress import ip_address
from socket import SO_RCVBUF, SOL_SOCKET

import pytest

from ipop_modules.tincan.link.pressure import Pressure
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


def test_a_further_socket_that_carries_traffic_is_large_and_its_losses_count() -> None:
    async def story() -> None:
        main, flood = UdpSocket.open(0), UdpSocket.open(0)
        sockets = Sockets(
            main, lambda _view, _segment, _endpoint: False, set, Pressure(time.monotonic, lambda _is_paused: None)
        )
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
