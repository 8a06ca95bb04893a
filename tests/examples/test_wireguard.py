"""WireGuard instead of IPsec, swapped in by configuration: real nodes, and captures on their cards as the judge."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
from msgspec import msgpack

from ipop_core.lab import Laboratory, capabilities
from ipop_modules.ipsec.leftovers import tag_of
from ipop_modules.ipsec.policies import policies_for
from ipop_modules.ipsec.xfrm import Xfrm
from tests.examples.installing import install
from tests.system.conftest import require
from tests.system.node import BIN, Node, family, stop_all, wait_until_dead
from tests.system.overlay import Overlay
from tests.system.test_streams import send_file

pytestmark = [pytest.mark.net, pytest.mark.slow]

PORT = 51820
PATTERN = ("-p", "deadbeef")
READABLE = bytes.fromhex("deadbeefdeadbeef")


class Pair:
    """Alice and Bob, with the example's section in their configurations."""

    def __init__(self, lab: Laboratory) -> None:
        self.lab = lab
        public = lab.segment()
        overlay = Overlay(lab, public, bare_nodes=2)
        overlay.start()
        self.alice, self.bob = (
            self.left_by_ipsec(
                overlay.member(
                    name,
                    overlay.home(name).host,
                    [f"192.168.10.{number}/24", f"fd00:10::{number}/64"],
                    tincan={"card": f"tap{name}"},  # WireGuard's socket is a file, named after the card
                    wireguard={},
                )
            ).start()
            for name, number in (("alice", 10), ("bob", 20))
        )
        for node in (self.alice, self.bob):
            node.ready(60.0)

    def left_by_ipsec(self, node: Node) -> Node:
        """As if IPsec had run there before, and had been stopped: its policies hold whatever is not ESP."""
        card = node.document["modules"]["tincan"]["card"]
        own = [ip_interface(cidr) for cidr in node.document["modules"]["tincan"]["address"]]

        def work() -> int:
            with Xfrm() as xfrm:
                xfrm.put_policies(policies_for(own, 99), tag_of(card))
                return len(xfrm.policies(tag_of(card)))

        assert node.host.namespace.call(work) > len(own)
        return node


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    for right in (capabilities().laboratory, capabilities().tun):
        require(right)
    with pytest.MonkeyPatch.context() as patch, Laboratory() as lab:
        patch.setenv("PYTHONPATH", str(install("ipop-wireguard", tmp_path_factory.mktemp("wireguard"))))
        yield Pair(lab)


def test_every_ping_from_the_first_on_is_answered_and_none_can_be_read(pair: Pair) -> None:
    alice, bob = pair.alice, pair.bob
    with pair.lab.capture(alice.host, "tapalice") as capture:
        for address in bob.addresses:
            assert alice.ping(address, *PATTERN, count=10).received == 10
        assert bob.ping(alice.address, *PATTERN).received == 3
        protected = [packet for packet in capture.datagrams() if packet.destination_port == PORT]
        assert len(protected) >= 2 * (10 + 10 + 3)
        assert capture.find(READABLE) == []
    assert capture.dropped == 0
    (state,) = {item["state"] for item in alice.ask("crypto", "status")["associations"]}
    assert state == "protected"
    shown = bob.cli("wireguard", "status").stdout
    assert "on" in shown
    assert all(address in shown for address in alice.addresses)


def test_what_ipsec_left_is_gone(pair: Pair) -> None:
    """It held all that WireGuard sends, and what WireGuard brings; the test above shows that nothing leaked."""
    for node in (pair.alice, pair.bob):
        assert node.host.run(["ip", "xfrm", "policy"]).stdout == ""
        assert "earlier run with IPsec" not in node.cli("status").stdout


def test_full_size_tcp_flows_both_ways(pair: Pair) -> None:
    alice, bob = pair.alice, pair.bob
    for sender, receiver in ((alice, bob), (bob, alice)):
        data = os.urandom(4 << 20)
        assert send_file(sender, receiver, data) == hashlib.sha256(data).hexdigest()
    # The largest that fits, which may not be cut: 28 bytes are headers.
    inner = 1500 - 80
    assert alice.ping(bob.address, "-M", "do", "-s", str(inner - 28)).received == 3
    assert alice.ping(bob.address, "-M", "do", "-s", str(inner - 27), "-W", "1", count=1).received == 0


def test_its_needs_are_asked_for_by_check_and_by_the_doctor(pair: Pair) -> None:
    check = pair.alice.host.run([str(BIN / "ipop-controller"), "-c", str(pair.alice.config), "--check"], check=False)
    assert (check.returncode, check.stderr) == (0, "")
    nowhere = ["env", f"PATH={pair.alice.folder}"]
    missing = pair.alice.host.run([*nowhere, *check.args[-4:]], check=False)
    assert missing.returncode == 2
    assert "modules.wireguard: wg: is missing; to mend: apt-get install wireguard-tools\n" in missing.stderr


def test_the_key_is_the_owners_alone(pair: Pair) -> None:
    (key,) = Path(pair.alice.document["node"]["state"]).rglob("wireguard.key")
    assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("claimed", ["192.168.10.30", "192.168.10.10", "10.1.2.3"])
def test_a_peer_is_let_in_with_no_other_address_than_its_own(pair: Pair, claimed: str) -> None:
    alice, bob = pair.alice, pair.bob
    before = alice.ask("crypto", "status")
    message = msgpack.encode([os.urandom(32), PORT, [ip_address(claimed).packed], False])
    to = {"to": alice.node_id(), "mode": "session", "role": "crypto"}
    bob.on_bus(lambda bus: bus.request("link", "send", to, [message]))
    refused = before["counters"].get("refused_address", 0) + 1
    after = alice.until("crypto", "status", lambda body: body["counters"].get("refused_address") == refused)
    assert {item["peer"] for item in after["associations"]} == {item["peer"] for item in before["associations"]}
    assert alice.ping(bob.address).received == 3


@pytest.mark.parametrize("victim", ["the module", "wireguard-go"])
def test_killing_it_leaves_the_card_closed_and_it_comes_back(pair: Pair, victim: str) -> None:
    alice, bob = pair.alice, pair.bob
    module = alice.module_pid("wireguard")
    children = [pid for pid in family(module) if pid != module]
    with pair.lab.capture(alice.host, "tapalice") as capture:
        pings = alice.host.popen(["ping", "-n", "-q", "-i", "0.05", *PATTERN, bob.address], stdout=subprocess.PIPE)
        alice.until_answered(bob.address)
        victims = [module] if victim == "the module" else children
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        assert wait_until_dead([*victims, *children], 10.0) == []
        seconds = alice.until_answered(bob.address, timeout=40.0)
        pings.send_signal(signal.SIGINT)
        output, _ = pings.communicate(timeout=10.0)
        assert capture.find(READABLE) == []
    assert capture.dropped == 0
    assert bob.ping(alice.address).received == 3
    print(f"{victim} killed: answered again after {seconds:.1f} s\n{output.decode()}")


def test_off_on_one_side_lets_nothing_through_and_off_on_both_lets_all(pair: Pair) -> None:
    alice, bob = pair.alice, pair.bob
    with pair.lab.capture(alice.host, "tapalice") as capture:
        assert bob.cli("wireguard", "off").returncode == 0
        assert alice.ping(bob.address, *PATTERN, "-W", "1").received == 0
        assert bob.ping(alice.address, *PATTERN, "-W", "1").received == 0
        assert not is_received(alice, bob)
        readable = len(capture.find(READABLE))
        assert capture.packets(alice.address, bob.address)
        assert [packet for packet in capture.find(READABLE) if packet.source == alice.address] == []
        assert alice.cli("wireguard", "off").returncode == 0
        assert alice.ping(bob.address, *PATTERN, count=5).received == 5
        assert len(capture.find(READABLE)) == readable + 10
        assert is_received(alice, bob)
        for node in (alice, bob):
            assert node.cli("wireguard", "on").returncode == 0
        seen = len(capture.find(READABLE))
        assert alice.ping(bob.address, *PATTERN, count=5).received == 5
        assert len(capture.find(READABLE)) == seen
    assert capture.dropped == 0


def is_received(alice: Node, bob: Node) -> bool:
    """Whether a program at Alice's gets a datagram that Bob's kernel sends unprotected."""

    def listen() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((alice.address, 7300))
        sock.settimeout(1.0)
        return sock

    word = os.urandom(16)
    with alice.host.namespace.call(listen) as sock:
        with bob.host.namespace.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
            sender.sendto(word, (alice.address, 7300))
        with contextlib.suppress(TimeoutError):
            return sock.recv(100) == word
    return False


def test_without_its_section_nothing_is_left_of_it(pair: Pair) -> None:
    """Last: the pair is of no use to others afterwards."""
    alice, bob = pair.alice, pair.bob
    assert not any(stop_all((alice, bob)))
    for node in (alice, bob):
        del node.document["modules"]["wireguard"]
        node.start()
    for node in (alice, bob):
        node.ready(60.0)
    for address in bob.addresses:
        assert alice.ping(address, count=5).received == 5
    assert alice.stop() == bob.stop() == 0
