"""Kernels, and the card in user space, talking through the wire: neighbours, source check, offloads and all."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_interface

import pytest

from ipop_modules.tincan import frames
from ipop_modules.tincan.card.protocol import segment
from ipop_modules.tincan.card.protocol.endpoint import Answered
from ipop_modules.tincan.card.protocol.neighbours import Neighbours
from ipop_modules.tincan.card.user import PingResult, UserCard

from .conftest import Host
from .namespace import Namespace
from .packets import ALICE, ALICE4, ALICE6, BOB, BOB4, BOB6, BOB_MAC
from .wire import Carry, Port, Wire, write

pytestmark = pytest.mark.net

HostMaker = Callable[[bytes, int], Host]
OWNERS = {ALICE4: ALICE, ALICE6: ALICE, BOB4: BOB, BOB6: BOB}
BULK = 4_000_000


def ping(inside: Namespace, address: str, count: int) -> str:
    command = inside.command("ping", "-c", str(count), "-i", "0.05", "-w", "5", "-p", "deadbeef", address)
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def user_port(node: bytes, mac: bytes, number: int) -> tuple[UserCard, Port]:
    interfaces = [ip_interface(f"192.168.10.{number}/24"), ip_interface(f"fd00::{number}/64")]
    card = UserCard("user", mac, 1500, interfaces, time.monotonic)
    return card, Port(card, node, Neighbours(node, interfaces))


@pytest.mark.parametrize("address", ["192.168.10.20", "fd00::20"])
def test_two_kernels_ping_and_the_first_packet_is_not_lost(host: HostMaker, address: str) -> None:
    inside, alice = host(ALICE, 10)
    _, bob = host(BOB, 20)
    with Wire([alice, bob], OWNERS):
        output = ping(inside, address, 5)
    assert "5 received, 0% packet loss" in output, output
    assert not bob.counters.keys() - {"plain", "super"}, "no source was refused"


def test_an_address_without_an_owner_is_unreachable(host: HostMaker) -> None:
    inside, alice = host(ALICE, 10)
    with Wire([alice], OWNERS):
        output = ping(inside, "192.168.10.30", 1)
    assert "Destination Host Unreachable" in output, output
    assert "0 received" in output


def test_a_kernel_and_a_user_card_ping_each_other(host: HostMaker) -> None:
    inside, alice = host(ALICE, 10)
    card, bob = user_port(BOB, BOB_MAC, 20)
    results: list[PingResult] = []
    answered = threading.Event()

    def done(result: PingResult) -> None:
        results.append(result)
        answered.set()

    with Wire([alice, bob], OWNERS):
        for address in ("192.168.10.20", "fd00::20"):
            assert "3 received, 0% packet loss" in ping(inside, address, 3)
        for number, text in enumerate(("192.168.10.10", "fd00::10")):
            answered.clear()
            card.ping(ip_address(text), b"x" * 1000, 1, number, done)
            assert answered.wait(3)
    assert [isinstance(result, Answered) for result in results] == [True, True]
    card.close()


def in_software(card: frames.Card, offload: int, size: int, frame: memoryview) -> None:
    """Hand over nothing that needs an offload."""
    if size:
        whole = segment.segments(size, frame) or []
    elif offload:
        whole = [segment.fill_checksum(frame) or b""]
    else:
        whole = [bytes(frame)]
    for one in whole:
        card.write(0, 0, memoryview(one))


@pytest.mark.parametrize("carry", [write, in_software])
@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "192.168.10.20"), (socket.AF_INET6, "fd00::20")])
def test_tcp_in_super_frames(host: HostMaker, carry: Carry, family: socket.AddressFamily, address: str) -> None:
    """The receiving kernel checks every checksum and sequence number, whoever segments."""
    inside, alice = host(ALICE, 10)
    far, bob = host(BOB, 20)
    listener = far.run(lambda: socket.create_server((address, 5000), family=family))
    payload = os.urandom(BULK)
    received = hashlib.sha256()

    def receive() -> None:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(1 << 20):
                received.update(data)

    receiver = threading.Thread(target=receive, daemon=True)
    receiver.start()
    with Wire([alice, bob], OWNERS, carry):
        with inside.run(lambda: socket.create_connection((address, 5000), timeout=10)) as connection:
            connection.sendall(payload)
        receiver.join(20)
    listener.close()
    assert received.digest() == hashlib.sha256(payload).digest()
    assert alice.counters["super"] > 10
    dropped = far.command("nstat", "-asz", "TcpInCsumErrors", "IpInHdrErrors")
    shown = subprocess.run(dropped, capture_output=True, text=True, check=True).stdout
    assert re.search(r"TcpInCsumErrors\s+0\s", shown), shown
