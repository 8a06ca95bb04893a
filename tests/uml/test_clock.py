"""The clock is set back by a year and on by ten, as `date -s` does it, while two nodes with certificates have a link.

Only a kernel of its own can be treated so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ipop_core.clock import boot_clock, boot_epoch
from ipop_core.lab import Host, Laboratory
from tests.system.node import BIN, Node
from tests.uml.town import eventually

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow, pytest.mark.timeout(300)]

PORT = 4741
YEAR = 365 * 86_400


@contextmanager
def clock_set(seconds: float) -> Iterator[None]:
    """This machine's clock is so many seconds away from the right time, while this lasts."""
    right = boot_epoch()
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)
    try:
        yield
    finally:
        time.clock_settime(time.CLOCK_REALTIME, right + boot_clock())


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Node, Node]]:
    with Laboratory() as lab:
        public, authority = lab.segment(), lab.folder / "authority"
        hosts = [lab.host("alice", public), lab.host("bob", public)]
        run(hosts[0], "ca", "init", "town", "--dir", str(authority))
        nodes = []
        for number, host in enumerate(hosts, 1):
            sections = {
                "tincan": {"address": f"192.168.10.{number}0/24"},
                "topology": {},
                "signal": {"bootstraps": [f"{hosts[0].address}:{PORT}"]},
                "logger": {},
            }
            namespace = {"name": "town", "authority": str(authority / "ca.pem")}
            node = Node(host.name, host, lab.folder, sections, namespace=namespace)
            node.config.write_text(json.dumps(node.document))
            issued = str(node.folder / "issued.pem")
            run(host, "ca", "issue", host.name, "--address", node.address, "--dir", str(authority), "-o", issued)
            run(host, "-c", str(node.config), "ca", "install", issued)
            nodes.append(node.start())
        for node in nodes:
            node.ready(timeout=60)
        yield nodes[0], nodes[1]
        for node in nodes:
            assert node.stop(timeout=30) == 0


def run(host: Host, *arguments: str) -> None:
    host.run([str(BIN / "ipop"), *arguments], timeout=60)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-YEAR, "this machine's clock went back by 31536000 s"), (10 * YEAR, "clock was set on by 315360000 s")],
)
def test_links_stay_and_a_line_is_logged(pair: tuple[Node, Node], seconds: float, said: str) -> None:
    alice, bob = pair
    assert alice.ping(bob.address).received == 3
    begun = alice.ask("core", "status")["started"]
    with clock_set(seconds):
        for node in pair:
            eventually(node.log.read_text, lambda log: said in log)
        # What is due every two minutes while packets flow: both judge each other's certificate again.
        made = bob.counters()["handshakes"]
        bob.ask("link", "connect", {"endpoint": f"{alice.host.address}:{PORT}", "kind": "test"}, timeout=20)
        assert bob.counters()["handshakes"] > made
        ping = alice.ping(bob.address, count=10)
        assert ping.received == 10, ping
        found = alice.ask("topology", "resolve", {"address": bob.address, "fresh": True})
        assert found["node"] == bob.node_id()
        # What is told of times goes by the clock as it is set now.
        status = alice.ask("core", "status")
        assert abs(status["started"] - begun - seconds) < 60
        assert abs(status["clock_moved_s"] - seconds) < 60
    assert alice.ping(bob.address).received == 3
    for node in pair:
        assert sum(said in line for line in node.log.read_text().splitlines()) == 1


def test_the_doctor_says_so_as_long_as_it_is_off(pair: tuple[Node, Node]) -> None:
    with clock_set(-YEAR):
        doctor = json.loads(pair[0].cli("doctor", "--json", timeout=120).stdout)
    said = [finding["found"] for finding in doctor["findings"] if finding["check"] == "clock"]
    assert any(found.startswith("was set back by 31536000 s") for found in said)
