"""Real nodes behind real routers: what they say of their NAT, and what becomes of traffic when networks change."""

from __future__ import annotations

import json
import time
from ipaddress import ip_address

import pytest

from ipop_core.bus.api import JsonObject
from ipop_core.lab import Router
from tests.system.conftest import Town
from tests.system.node import Node, kill
from tests.system.traffic import Flow
from tests.uml.transfer import Transfer, goes_on

pytestmark = [pytest.mark.net, pytest.mark.slow]

RATE = 100
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


def until_at(node: Node, other: Node, place: str) -> None:
    """Return once a direct path to the other leads to this IP address."""
    node.until(
        "link",
        "why",
        lambda body: body["path"] == "direct" and body["endpoint"].startswith(place),
        "link.*",
        body={"node": other.node_id()},
        timeout=30.0,
    )


def look_at(flow: Flow, longest: float) -> None:
    """It goes on, and was never silent for longer."""
    time.sleep(0.5)  # traffic after what happened
    for arrived in flow.stop():
        print(f"silent for {arrived.longest_gap:.2f} s, {len(arrived.missing)} of {arrived.sent} lost")
        assert arrived.longest_gap < longest
        assert arrived.sent - arrived.numbers[-1] < RATE / 4


def in_use(why: JsonObject) -> list[str]:
    """The relay that packets take."""
    return [relay["node"] for relay in why["relays"][:1]]


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
    router = town.overlay.homes["alice"].router
    assert router is not None
    fault = f"the router, {router.lan.gateway}, "
    assert behind["port_mapping_fault"].startswith(fault)
    assert f"none: {fault}" in " ".join(alice.cli("netcheck").stdout.split())


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
        flow = Flow(alice, bob, rate=RATE)
        ready = {"node": bob.node_id()}
        found = alice.until("link", "why", lambda body: len(body["relays"]) > 1, body=ready, timeout=8.0)
        bob.until("link", "why", lambda body: len(body["relays"]) > 1, body={"node": alice.node_id()}, timeout=8.0)
        first = found["relays"][0]["node"]
        (relay,) = [node for node in town.members + town.overlay.bare if node.node_id() == first]
        time.sleep(0.5)
        kill(relay.pid)
        for near, far in ((alice, bob), (bob, alice)):
            near.until("link", "why", lambda body: first not in in_use(body), body={"node": far.node_id()})
        alice.until_answered(bob.address)
        print(f"{relay} was killed")
        look_at(flow, LONGEST_SILENCE_RELAYED)
        told = json.loads(alice.cli("why", bob.address, "--json").stdout)
        assert told["relays"][0]["node"] != first
    relay.start().ready()


def test_a_new_public_address_costs_seconds(town: Town) -> None:
    """The provider renumbers Alice's home: every mapping is gone, and her node is not told. It keeps that address."""
    home = town.overlay.homes["alice"]
    assert home.router is not None
    flow = Flow(town.alice, town.bob, rate=RATE)
    time.sleep(1.0)
    old = ip_address(home.public_address)
    new = ip_address(int(old) + 100)
    card = home.router.wan.interface
    home.router.wan.namespace.ip(f"address del {old}/24 dev {card}", f"address add {new}/24 dev {card}")
    until_at(town.bob, town.alice, str(new))
    look_at(flow, LONGEST_SILENCE)


def test_a_computer_that_moves_to_another_network_goes_on(town: Town) -> None:
    """Alice's computer leaves her home's network for that of a friend. Last: she stays there."""
    friend = town.overlay.home("friend").router
    assert friend is not None
    flow = Flow(town.alice, town.bob, rate=RATE)
    with Transfer(town.alice.host.namespace, town.bob.host.namespace, town.bob.address) as transfer:
        goes_on(transfer)
        leave(town, friend)
        until_at(town.bob, town.alice, friend.wan.address)
        goes_on(transfer)
    transfer.check()
    look_at(flow, LONGEST_SILENCE)


def leave(town: Town, friend: Router) -> None:
    """Alice's computer goes from her home's network to another."""
    namespace = town.alice.host.namespace
    namespace.ip(f"link del {town.alice.host.interface}")
    friend.lan.attach("visitor", namespace, "eth1")
