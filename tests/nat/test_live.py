"""Real nodes behind real routers: what they say of their NAT, and what becomes of traffic when networks change."""

from __future__ import annotations

import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from ipaddress import ip_address

import pytest

from ipop_core.lab import Router
from tests.system.conftest import Town
from tests.system.node import Node, kill
from tests.system.traffic import Flow

pytestmark = [pytest.mark.net, pytest.mark.slow]

RATE = 100
TCP_PORT = 7300
LONGEST_SILENCE = 5.0
LONGEST_SILENCE_RELAYED = 4.0
"""Generous: this machine may be busy. What it took is printed."""


@pytest.fixture(autouse=True)
def neighbours(town: Town) -> None:
    town.make_direct()


def endpoint(node: Node, other: Node) -> str:
    found = node.ask("link", "why", {"node": other.node_id()})
    assert found["path"] == "direct", found["reason"]
    return str(found["endpoint"])


def test_netcheck_and_why_say_what_there_is(town: Town) -> None:
    alice, bob, carol = town.alice, town.bob, town.carol
    # Bob tells of his NAT in an offer: let there be one since he knows it himself.
    bob.until("link", "netcheck", lambda body: body["ipv4"]["mapping"] == "endpoint-independent", "link.up")
    with town.relayed():
        pass
    town.make_direct()
    behind, outside = (json.loads(node.cli("netcheck", "--json").stdout) for node in (alice, carol))
    assert behind["ipv4"]["mapping"] == "endpoint-independent"
    assert behind["ipv4"]["outer"].startswith(town.overlay.homes["alice"].public_address)
    assert behind["ipv4"]["preserves_port"] is True
    assert behind["filtering"] in ("address-and-port-dependent", "unknown"), "unknown where no answer came in time"
    assert behind["hairpin"] is False
    assert outside["filtering"] != "address-and-port-dependent"
    assert outside["ipv4"]["mapping"] == "none"
    assert "endpoint-independent" in alice.cli("netcheck").stdout

    found = json.loads(alice.cli("why", bob.address, "--json").stdout)
    assert found["path"] == "direct"
    assert found["endpoint"].startswith(town.overlay.homes["bob"].public_address)
    assert any(trial["outcome"] == "answers" for trial in found["tried"])
    assert found["nat"] == {"ours": "endpoint-independent", "theirs": "endpoint-independent"}
    assert found["offers"]["answered"] + found["offers"]["received"] > 0
    assert "Direct" in (told := alice.cli("why", bob.address).stdout)
    assert f"offers: {found['offers']['sent']} sent" in told
    assert behind["port_mapping_fault"] in " ".join(alice.cli("netcheck").stdout.split())


def test_two_nodes_behind_one_router_talk_in_their_own_network(town: Town) -> None:
    router = town.overlay.homes["alice"].router
    assert router is not None
    dave = town.overlay.member("dave", town.lab.host("dave", router.lan), "192.168.10.40/24").start().ready()
    assert dave.ping(town.alice.address).received == 3
    dave.until_direct(town.alice)
    town.alice.until_direct(dave)
    assert endpoint(dave, town.alice) == f"{town.alice.host.address}:4741"
    assert endpoint(town.alice, dave) == f"{dave.host.address}:4741"
    assert dave.stop() == 0


def test_traffic_goes_on_by_the_next_relay_when_the_one_in_use_dies(town: Town) -> None:
    """While two stay relayed. That costs under a second where the machine keeps up."""
    alice, bob = town.alice, town.bob
    with town.relayed():
        flow = Flow(alice, bob, rate=RATE, seconds=14.0)
        ready = {"node": bob.node_id()}
        found = alice.until("link", "why", lambda body: len(body["relays"]) > 1, body=ready, timeout=8.0)
        bob.until("link", "why", lambda body: len(body["relays"]) > 1, body={"node": alice.node_id()}, timeout=8.0)
        (relay,) = [node for node in town.members + town.overlay.bare if node.node_id() == found["relays"][0]["node"]]
        time.sleep(0.5)
        died = kill(relay.pid)
        there, back = flow.finish()
        for arrived in (there, back):
            print(f"{relay}: {arrived.longest_gap:.2f} s of silence, {len(arrived.missing)} of {arrived.sent} lost")
            after = arrived.first_after(died + LONGEST_SILENCE_RELAYED)
            assert arrived.longest_gap < LONGEST_SILENCE_RELAYED
            assert after is not None
            assert after < 0.5
        told = json.loads(alice.cli("why", bob.address, "--json").stdout)
        assert told["relays"][0]["node"] != found["relays"][0]["node"]
    relay.start().ready()


def test_a_new_public_address_costs_seconds(town: Town) -> None:
    """The provider renumbers Alice's home: every mapping is gone, and her node is not told. It keeps that address."""
    home = town.overlay.homes["alice"]
    assert home.router is not None
    flow = Flow(town.alice, town.bob, rate=RATE, seconds=12.0)
    time.sleep(1.0)
    old = ip_address(home.public_address)
    new = ip_address(int(old) + 100)
    card = home.router.wan.interface
    home.router.wan.namespace.ip(f"address del {old}/24 dev {card}", f"address add {new}/24 dev {card}")
    there, back = flow.finish()
    for arrived in (there, back):
        print(f"silent for {arrived.longest_gap:.2f} s, {len(arrived.missing)} of {arrived.sent} lost")
        assert arrived.longest_gap < LONGEST_SILENCE
    town.bob.until_direct(town.alice, timeout=30.0)
    assert endpoint(town.bob, town.alice).startswith(str(new))


def test_a_computer_that_moves_to_another_network_goes_on(town: Town) -> None:
    """Alice's computer leaves her home's network for that of a friend. Last: she stays there."""
    friend = town.overlay.home("friend").router
    assert friend is not None
    flow = Flow(town.alice, town.bob, rate=RATE, seconds=12.0)
    with ThreadPoolExecutor(1) as pool:
        transfer = pool.submit(send_slowly, town.alice, town.bob, 10.0)
        time.sleep(1.0)
        leave(town, friend)
        sent, arrived_whole = transfer.result(timeout=60)
    assert arrived_whole == sent, "a TCP transfer that ran meanwhile goes on"
    there, back = flow.finish()
    for arrived in (there, back):
        print(f"silent for {arrived.longest_gap:.2f} s, {len(arrived.missing)} of {arrived.sent} lost")
        assert arrived.longest_gap < LONGEST_SILENCE
    town.bob.until_direct(town.alice, timeout=30.0)
    assert endpoint(town.bob, town.alice).startswith(friend.wan.address)


def leave(town: Town, friend: Router) -> None:
    """Alice's computer goes from her home's network to another."""
    namespace = town.alice.host.namespace
    namespace.ip(f"link del {town.alice.host.interface}")
    friend.lan.attach("visitor", namespace, "eth1")


def send_slowly(sender: Node, receiver: Node, seconds: float) -> tuple[str, str]:
    """Send over one TCP connection for so long; the SHA-256 of what was sent, and of what arrived."""
    sent, arrived = sha256(), sha256()

    def take(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(30)
            while data := connection.recv(1 << 16):
                arrived.update(data)

    with (
        receiver.host.namespace.call(lambda: socket.create_server((receiver.address, TCP_PORT))) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        server.settimeout(10)
        taking = pool.submit(take, server)
        with sender.host.namespace.call(lambda: socket.create_connection((receiver.address, TCP_PORT), 30)) as client:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                data = os.urandom(8192)
                sent.update(data)
                client.sendall(data)
                time.sleep(0.02)
        taking.result(timeout=30)
    return sent.hexdigest(), arrived.hexdigest()
