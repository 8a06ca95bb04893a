"""Full-size TCP through the tunnel, both ways."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from ipop_core.lab import losing
from tests.system.conftest import Town
from tests.system.node import Node

pytestmark = [pytest.mark.net, pytest.mark.slow]

FILE_SIZE = 8 << 20
PORT = 7200
INTERVAL = 0.5


@pytest.mark.parametrize("way", ["relayed", "direct"])
def test_tcp_flows_both_ways_and_bytes_stay_what_they_are(town: Town, way: str) -> None:
    alice, bob = town.alice, town.bob
    with ExitStack() as stack:
        if way == "relayed":
            stack.enter_context(town.relayed())
        else:
            town.make_direct()
        for sender, receiver in ((alice, bob), (bob, alice)):
            data = os.urandom(FILE_SIZE)
            assert send_file(sender, receiver, data) == hashlib.sha256(data).hexdigest()
        for reverse in (False, True):
            intervals = iperf(alice, bob, reverse=reverse)
            rates = [round(interval["sum"]["bits_per_second"] / 1e6) for interval in intervals]
            print(f"{way}, {'Bob to Alice' if reverse else 'Alice to Bob'}: {rates} Mbit/s")
            assert len(rates) >= 4
            assert all(rates), f"stalled: {rates}"


def test_what_a_path_loses_is_repaired(town: Town) -> None:
    alice, bob = town.alice, town.bob
    town.make_direct()
    before, data = bob.counters().get("blocks_mended", 0), os.urandom(FILE_SIZE)
    with losing(alice.host, bob.host, 2):
        assert send_file(alice, bob, data) == hashlib.sha256(data).hexdigest()
    assert bob.counters()["blocks_mended"] > before
    assert alice.counters()["repairs_sent"] > 0


def iperf(client: Node, server: Node, *, reverse: bool) -> list[dict[str, Any]]:
    """Two seconds of TCP; what was received in each half second."""
    serving = server.host.popen(
        ["iperf3", "-s", "-1", "-B", server.address, "--forceflush"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert serving.stdout
    while b"Server listening" not in (line := serving.stdout.readline()):
        assert line, "iperf3 does not listen"
    options = ["-c", server.address, "-t", "2", "-i", str(INTERVAL), "--json", *(["-R"] if reverse else [])]
    report = json.loads(client.host.run(["iperf3", *options], check=False).stdout)
    serving.communicate(timeout=10)
    assert "error" not in report, report["error"]
    return list(report["intervals"])


def send_file(sender: Node, receiver: Node, data: bytes) -> str:
    """Send bytes over a TCP connection between the cards; the SHA-256 of what arrived."""
    with receiver.host.namespace.call(lambda: socket.create_server((receiver.address, PORT))) as server:
        server.settimeout(10)
        with ThreadPoolExecutor(1) as pool:
            arriving = pool.submit(_digest, server)
            connect = lambda: socket.create_connection((receiver.address, PORT), timeout=20)  # noqa: E731 - one use
            with sender.host.namespace.call(connect) as client:
                client.sendall(data)
            return arriving.result(timeout=30)


def _digest(server: socket.socket) -> str:
    connection, _ = server.accept()
    found = hashlib.sha256()
    with connection:
        connection.settimeout(20)
        while data := connection.recv(1 << 20):
            found.update(data)
    return found.hexdigest()
