"""One peer floods a node: other peers, control messages and timers go on, and what is dropped is counted by cause."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ipop_core.lab import Host, Laboratory
from tests.system.node import POLL, Node, Ping, stop_all
from tests.system.overlay import Overlay

pytestmark = [pytest.mark.net, pytest.mark.slow]

SECONDS = 8
"""Of a flood; keepalives, loss reports and probes of paths are due several times meanwhile."""
BEGUN = 1000 * 1200
"""Bytes; the kernel counts what was written in one super-frame as one packet."""
GATHERED = 64
"""As many frames at most are in a block that is lost with one of its datagrams."""


@pytest.fixture(scope="module")
def three(lab: Laboratory) -> Iterator[list[Node]]:
    """Quinn, who is flooded, Rita, who floods, and Sven, who only pings; all have direct links."""
    public = lab.segment("busy")
    overlay = Overlay(lab, public, bare_nodes=1, prefix="busybare")
    overlay.start()
    nodes = [
        overlay.member(name, lab.host(name, public), f"192.168.10.{number}/24").start()
        for number, name in enumerate(("quinn", "rita", "sven"), 1)
    ]
    for node in nodes:
        node.ready()
    quinn, *others = nodes
    for other in others:
        assert other.ping(quinn.address, count=1).received == 1
        other.until_direct(quinn)
        quinn.until_direct(other)
    yield nodes
    assert not any(stop_all((*nodes, *overlay.bare)))


@contextmanager
def flood(sender: Node, receiver: Node, report: dict[str, Any], seconds: int = SECONDS) -> Iterator[None]:
    """As many datagrams as iperf3 can send, while the block runs; `report` is its account of them afterwards."""
    serving = receiver.host.popen(
        ["iperf3", "-s", "-1", "-B", receiver.address, "--forceflush"], stdout=subprocess.PIPE
    )
    assert serving.stdout
    while b"Server listening" not in (line := serving.stdout.readline()):
        assert line, "iperf3 does not listen"
    options = ["-u", "-b", "0", "-w", "4M", "-l", "1200", "-t", str(seconds), "--json"]
    quiet = receiver.ask("link", "status")["traffic"]["card"]["bytes_in"]
    sending = sender.host.popen(
        ["nice", "-n", "-15", "iperf3", "-c", receiver.address, *options], stdout=subprocess.PIPE
    )
    receiver.until("link", "status", lambda body: body["traffic"]["card"]["bytes_in"] > quiet + BEGUN)
    yield
    assert sending.poll() is None, "the flood ended too soon to show anything"
    report.update(json.loads(sending.communicate(timeout=seconds + 20)[0]))
    serving.communicate(timeout=10)
    assert "error" not in report, report["error"]


def kernel_drops(host: Host) -> int:
    """Datagrams that the sockets of a host's programs had no room for, the node's own among them."""
    return host.namespace.call(lambda: _udp_figure("RcvbufErrors"))


def lost_on_arrival(node: Node) -> int:
    """Frames, at most, that a host's sockets had no room for: many in each block that the node's own had none for."""
    return kernel_drops(node.host) + node.counters()["socket_overflow"] * GATHERED


def _udp_figure(name: str) -> int:
    lines = Path("/proc/thread-self/net/snmp").read_text(encoding="ascii").splitlines()
    names, values = (line.split() for line in lines if line.startswith("Udp:"))
    return int(values[names.index(name)])


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_flood_starves_nobody(three: list[Node]) -> None:
    quinn, rita, sven = three
    report: dict[str, Any] = {}
    before = lost_on_arrival(quinn)
    with flood(rita, quinn, report):
        command = ["ping", "-n", "-c", "25", "-i", "0.1", "-W", "2", quinn.address]
        with ThreadPoolExecutor() as at_once:
            pinging = at_once.submit(sven.host.run, command, check=False, timeout=30)
            asking = [
                at_once.submit(near.cli, "ping", "-c", "3", far.address, "--json", timeout=30.0)
                for near, far in ((sven, quinn), (quinn, sven))
            ]
        ping = Ping(pinging.result().stdout)
        for asked in asking:
            answers = json.loads(asked.result().stdout)
            assert [answer.get("error") for answer in answers] == [None] * 3, answers
        for node in three:
            assert node.ask("link", "status")["card"]["up"]
    assert ping.received >= ping.sent - 1, ping
    for other in (rita, sven):
        assert other.path_to(quinn) == quinn.path_to(other) == "direct"
        assert other.ping(quinn.address, count=3).received == 3

    # iperf3 sends faster than any tunnel: what had no room is counted where it had none.
    total = report["end"]["sum"]
    assert total["packets"] > total["lost_packets"] > 0
    counted = rita.counters()["read_overflow"] + lost_on_arrival(quinn) - before
    print(
        f"{ping.received} of {ping.sent} pings; {total['lost_packets']} of {total['packets']} lost, {counted} counted"
    )
    assert counted > total["lost_packets"] * 0.99
    assert re.search(r"read_overflow +\d", rita.cli("status").stdout)


def test_what_a_node_was_too_busy_for_is_counted(three: list[Node]) -> None:
    quinn, rita, sven = three
    report: dict[str, Any] = {}
    with flood(rita, quinn, report):
        before = kernel_drops(quinn.host)
        with stopped(quinn.module_pid("tincan")):
            deadline = time.monotonic() + SECONDS / 2
            while kernel_drops(quinn.host) < before + 10:
                assert time.monotonic() < deadline, "the socket never filled"
                time.sleep(POLL)
        quinn.until("link", "status", lambda body: body["counters"]["socket_overflow"] >= 1)
    assert sven.ping(quinn.address, count=3).received == 3
    assert re.search(r"socket_overflow +\d", quinn.cli("status").stdout)


@contextmanager
def slow(host: Host, rate: str) -> Iterator[None]:
    """The host's card sends no faster than that, and drops nothing: what has to wait fills the sockets' buffers."""
    queue = ["dev", host.interface, "root", "tbf", "rate", rate, "burst", "256k", "limit", "256m"]
    host.run(["tc", "qdisc", "add", *queue])
    try:
        yield
    finally:
        host.run(["tc", "qdisc", "del", "dev", host.interface, "root"])


def test_a_full_socket_loses_nothing_and_the_card_waits(three: list[Node]) -> None:
    quinn, rita, _sven = three
    report: dict[str, Any] = {}
    before, overflown = lost_on_arrival(quinn), rita.counters()["read_overflow"]
    with slow(rita.host, "300mbit"), flood(rita, quinn, report, 4):
        rita.until("link", "status", lambda body: body["counters"].get("full_sockets", 0) >= 1)
        assert json.loads(rita.cli("ping", "-c", "1", quinn.address, "--json").stdout)[0].get("error") is None
    counters = rita.counters()
    lost, sent = (report["end"]["sum"][name] for name in ("lost_packets", "packets"))
    print(
        f"{lost} of {sent} lost, {counters['read_overflow'] - overflown} by the card, {counters['full_sockets']} full"
    )
    assert not [name for name in counters if name.startswith(("drop_full", "socket_no"))]
    assert lost <= counters["read_overflow"] - overflown + lost_on_arrival(quinn) - before
    assert rita.path_to(quinn) == "direct"
