"""Real nodes in an authority's namespace: certificates from the command line, strangers refused, one revoked."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipop_core.bus.api import JsonObject
from ipop_core.lab import Host, Laboratory, capabilities
from tests.system.conftest import require
from tests.system.node import BIN, Node

pytestmark = [pytest.mark.net, pytest.mark.slow]

PORT = 4741
REVOKED = ("refused_revoked", "handshake_revoked")
"""What a node counts when one who was revoked begins anew, or is begun with."""


class Town:
    """Five nodes on one segment. Eve has only a certificate of her own, Dave uses another address than his own."""

    def __init__(self, lab: Laboratory) -> None:
        self.lab = lab
        self.public = lab.segment()
        self.authority = lab.folder / "authority"
        self.desk = lab.host("desk", self.public)
        self.ipop("init", "town")
        self.alice = self.node("alice", "192.168.10.10")
        self.bob = self.node("bob", "192.168.10.20")
        self.carol = self.node("carol", "192.168.10.30")
        self.mallory = self.node("mallory", "192.168.10.66")
        self.dave = self.node("dave", "192.168.10.51", certified="192.168.10.50")
        self.eve = self.node("eve", "192.168.10.99", certified=None)

    def ipop(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.desk.run([str(BIN / "ipop"), "ca", *arguments, "--dir", str(self.authority)])

    def node(self, name: str, address: str, certified: str | None = "") -> Node:
        """A node that asked for its certificate and took it; `certified` where that is for another address, or none."""
        host: Host = self.lab.host(name, self.public)
        first = getattr(self, "alice", None)
        sections = {
            "tincan": {"address": f"{address}/24"},
            "topology": {},
            "signal": {"bootstraps": [] if first is None else [f"{first.host.address}:{PORT}"]},
            "logger": {},
        }
        namespace = {"name": "town", "authority": str(self.authority / "ca.pem")}
        node = Node(name, host, self.lab.folder, sections, namespace=namespace)
        node.config.write_text(json.dumps(node.document))
        if certified is not None:
            request, handed = node.folder / "request.csr", node.folder / "handed.pem"
            run(node, "ca", "request", "--name", name, "-o", str(request))
            issue = ("issue", name, "--address", certified or address, "--csr", str(request), "-o", str(handed))
            self.ipop(*issue)
            run(node, "ca", "install", str(handed))
        return node.start()


def run(node: Node, *arguments: str) -> str:
    done = node.cli(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def town(lab: Laboratory) -> Iterator[Town]:
    made = Town(lab)
    for node in (made.alice, made.bob, made.carol, made.mallory, made.dave, made.eve):
        node.ready()
    yield made
    for node in (made.alice, made.bob, made.carol, made.mallory, made.dave, made.eve):
        node.stop()


@pytest.fixture(scope="package")
def lab() -> Iterator[Laboratory]:
    rights = capabilities()
    for right in (rights.laboratory, rights.tun):
        require(right)
    with Laboratory() as laboratory:
        yield laboratory


def until_cut_off(node: Node, other: str) -> None:
    """A handshake may be under way, but there is no path."""

    def is_cut_off(body: JsonObject) -> bool:
        return all(peer["path"] == "none" for peer in body["peers"] if peer["node"] == other)

    node.until("link", "peers", is_cut_off, "link.down", timeout=10)


def test_members_reach_each_other(town: Town) -> None:
    for near, far in ((town.alice, town.bob), (town.mallory, town.bob), (town.carol, town.mallory)):
        ping = near.ping(far.address, count=5)
        print(f"{near.name} to {far.name}: {ping.received} of {ping.sent}")
        assert ping.received == 5


def test_eve_has_no_certificate(town: Town) -> None:
    assert "no member of its namespace: certificate is signed by the node itself" in town.eve.log.read_text()
    assert town.eve.ping(town.alice.address, "-W", "1", count=3).received == 0
    assert town.alice.ping(town.eve.address, "-W", "1", count=3).received == 0
    assert town.alice.counters()["refused_self_signed"] >= 1


def test_dave_uses_an_address_that_is_not_his(town: Town) -> None:
    assert "its certificate is for 192.168.10.50, not for 192.168.10.51" in town.dave.log.read_text()
    assert town.alice.ask("topology", "resolve", {"address": town.dave.address})["node"] is None
    assert town.alice.ping(town.dave.address, "-W", "1", count=3).received == 0
    assert town.dave.ping(town.alice.address, "-W", "1", count=3).received == 0
    assert town.alice.counters()["drop_source_address"] >= 1


def test_mallory_is_revoked(town: Town) -> None:
    others = (town.alice, town.bob, town.carol)
    for node in others:
        assert town.mallory.ping(node.address, count=1).received == 1
    flood = town.mallory.host.popen(
        ["ping", "-n", "-D", "-i", "0.05", "-w", "60", town.bob.address], stdout=subprocess.PIPE
    )
    time.sleep(1)  # some of it before
    begun, wall = time.monotonic(), time.time()
    said = run(town.alice, "ca", "revoke", "mallory", "--dir", str(town.authority))
    commanded = time.monotonic() - begun
    assert "tells the members list number 1" in said
    took = {}
    for node in others:
        until_cut_off(node, town.mallory.node_id())
        took[node.name] = round(time.monotonic() - begun, 2)
    time.sleep(3)  # and afterwards
    flood.send_signal(signal.SIGINT)
    output = flood.communicate()[0].decode()
    moments = [float(line[1:].partition("]")[0]) for line in output.splitlines() if line.startswith("[")]
    answered = [moment for moment in moments if moment > wall]
    last = max(moments) - wall
    print(f"the command took {commanded:.2f} s; cut off after {took} s")
    print(f"{len(moments)} answers to her flood, the last {last:.2f} s after the command began")
    assert len(moments) - len(answered) >= 10
    assert last < 10
    assert last < max(took.values()) + 1
    assert max(took.values()) < 10
    for node in others:
        assert town.mallory.ping(node.address, "-W", "1", count=2).received == 0
        node.until("link", "status", lambda body: any(body["counters"].get(name) for name in REVOKED), timeout=15.0)
    assert town.alice.ping(town.bob.address, count=3).received == 3
    assert town.carol.ping(town.bob.address, count=3).received == 3


def test_it_outlives_a_restart(town: Town) -> None:
    kept = list(Path(town.bob.document["node"]["state"]).glob("*.crl"))
    assert len(kept) == 1
    town.bob.stop()
    town.bob.start().ready()
    assert town.mallory.ping(town.bob.address, "-W", "1", count=3).received == 0
    assert town.bob.path_to(town.mallory) in ("none", "stranger")
    assert town.alice.ping(town.bob.address, count=3).received == 3
