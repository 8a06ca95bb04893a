"""Segmentation offload of the real kernel: what refuses it, for whom, and until when."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import ip_address

import pytest

from ipop_modules.tincan.link.udp import PLAIN_SENDS, RECEIVE_SIZE, UdpSocket

SO_NO_CHECK = 11
"""A socket without checksums is refused segmentation: a stand-in for what a route or a policy may do for a while."""


def test_segmentation_that_was_refused_is_tried_again() -> None:
    receiver, sender = UdpSocket.open(0), UdpSocket.open(0)
    endpoint = sender.endpoint(ip_address("127.0.0.1"), receiver.port)
    assert endpoint is not None
    buffer = memoryview(bytearray(RECEIVE_SIZE))

    def sent() -> tuple[int, int]:
        assert sender.transmit(endpoint, [b"h" * 25, b"x" * 1175] * 4, 1200)
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
    assert out.splitlines() == ["False True {'socket_too_long': 1}", "(5600, 1400)"]
