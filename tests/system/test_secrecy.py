"""What others on the way can see, and who can be reached: nothing, and nobody of another namespace."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

import pytest

from ipop_core.lab import Capture
from tests.system.conftest import Town
from tests.system.node import Node

pytestmark = [pytest.mark.net, pytest.mark.slow]

UDP_PORT = 7100


@pytest.mark.parametrize("way", ["relayed", "direct"])
def test_a_canary_is_seen_by_nobody_on_the_way(town: Town, way: str) -> None:
    alice, bob = town.alice, town.bob
    with ExitStack() as stack:
        if way == "relayed":
            stack.enter_context(town.relayed())
        else:
            town.make_direct()
        on_the_way, on_the_cards = captures(town, stack)
        before = handed_on(town)
        pattern, words, plain = os.urandom(16), os.urandom(24), os.urandom(24)
        assert alice.ping(bob.address, "-p", pattern.hex(), count=5).received == 5
        assert exchange(alice, bob, words) == words
        # Beside the tunnel a canary is seen everywhere.
        for node in (alice, bob):
            for other in others(town):
                send_in_clear(node, other, plain)
        for capture in on_the_way.values():
            capture.wait_for(lambda packet: plain in packet.raw)
        for name, capture in on_the_cards.items():
            assert len(capture.find(pattern)) >= 10, name
            assert len(capture.find(words)) == 2, name
        for name, capture in on_the_way.items():
            assert (capture.find(pattern), capture.find(words)) == ([], []), name
        homes = town.overlay.homes
        between_homes = on_the_way["public"].count(homes["alice"].public_address, homes["bob"].public_address)
        relayed = handed_on(town) - before
        print(f"{way}: {between_homes} datagrams between the homes, {relayed} handed on by others")
        assert relayed >= 12 if way == "relayed" else between_homes >= 6
    for name, capture in (on_the_way | on_the_cards).items():
        assert capture.dropped == 0, name


def test_another_namespace_neither_resolves_nor_reaches_alice(town: Town) -> None:
    alice, carol, mallory = town.alice, town.carol, town.mallory
    with town.lab.capture(alice.host, "tapipop") as card:
        assert carol.ping(alice.address).received == 3
        refused = mallory.ping(alice.address, count=3)
        assert refused.received == 0
        assert "Destination Host Unreachable" in refused.output
        here = carol.ask("topology", "resolve", {"address": alice.address, "fresh": True})
        there = mallory.ask("topology", "resolve", {"address": alice.address, "fresh": True})
        assert (here["node"], here["certain"]) == (alice.node_id(), True)
        assert (there["node"], there["certain"]) == (None, True)
        # Not even with Alice's hardware address, and a session with her node, which anybody may have.
        hardware = alice.ask("link", "status")["card"]["mac"]
        mallory.ask("link", "ping", {"node": alice.node_id()})
        neighbour = ["ip", "neigh", "replace", alice.address, "dev", "tapipop"]
        mallory.host.run([*neighbour, "lladdr", hardware, "nud", "permanent"])
        assert mallory.ping(alice.address, "-W", "1", count=3).received == 0
        mallory.host.run(["ip", "neigh", "del", alice.address, "dev", "tapipop"])
        assert len(card.packets(carol.address, alice.address)) == 3
        assert card.packets(mallory.address) == []
    assert card.dropped == 0


def test_status_tells_who_is_alone_in_a_mistyped_namespace(town: Town) -> None:
    town.mallory.until("topology", "status", lambda body: body["members"] == 0)
    town.alice.until("topology", "status", lambda body: body["members"] == 2)
    alone, among_others = town.mallory.cli("status").stdout, town.alice.cli("status").stdout
    assert "nobody else is in namespace twon: check its spelling" in alone
    assert "nobody else" not in among_others
    assert "2 others" in among_others


def test_a_packet_with_a_source_that_is_not_the_peers_never_arrives(town: Town) -> None:
    alice, bob, borrowed = town.alice, town.bob, "192.168.10.99"
    town.make_direct()
    before = bob.counters().get("drop_source_address", 0)
    alice.host.run(["ip", "address", "add", f"{borrowed}/24", "dev", "tapipop"])
    try:
        with town.lab.capture(bob.host, "tapipop") as card, town.lab.capture(alice.host, "tapipop") as own_card:
            assert alice.ping(bob.address, "-I", borrowed, "-W", "1", count=5).received == 0
            assert alice.ping(bob.address, "-I", alice.address, count=5).received == 5
            assert len(own_card.packets(borrowed, bob.address)) == 5
            assert len(card.packets(alice.address, bob.address)) == 5
            assert card.packets(borrowed) == []
    finally:
        alice.host.run(["ip", "address", "del", f"{borrowed}/24", "dev", "tapipop"])
    assert bob.counters()["drop_source_address"] == before + 5


def test_an_address_without_an_owner_is_unreachable(town: Town) -> None:
    nobody = town.alice.ping("192.168.10.77", count=3)
    assert nobody.received == 0
    assert "Destination Host Unreachable" in nobody.output
    assert town.alice.ping(town.bob.address).received == 3


def others(town: Town) -> list[Node]:
    """Whoever may hand on what Alice and Bob say to each other: the nearest of them does."""
    return [*town.overlay.bare, town.carol, town.mallory]


def handed_on(town: Town) -> int:
    return sum(node.counters().get("relayed", 0) for node in others(town))


def captures(town: Town, stack: ExitStack) -> tuple[dict[str, Capture], dict[str, Capture]]:
    """Running captures: everywhere between the two hosts, and on their cards."""
    lab, overlay = town.lab, town.overlay
    on_the_way = {"public": lab.capture(town.public)}
    for name, home in overlay.homes.items():
        assert home.router
        on_the_way |= {f"{name}'s home": lab.capture(home.router.lan), f"{name}'s router": lab.capture(home.router.wan)}
    on_the_way |= {node.name: lab.capture(node.host) for node in others(town)}
    on_the_cards = {node.name: lab.capture(node.host, "tapipop") for node in (town.alice, town.bob)}
    for capture in (on_the_way | on_the_cards).values():
        stack.enter_context(capture)
    return on_the_way, on_the_cards


def exchange(one: Node, other: Node, words: bytes) -> bytes:
    """Send `words` in a UDP datagram over the cards, and have them sent back."""
    there, here = (node.host.namespace.call(_udp_socket) for node in (other, one))
    with there, here:
        there.bind((other.address, UDP_PORT))
        here.sendto(words, (other.address, UDP_PORT))
        data, sender = there.recvfrom(2048)
        there.sendto(data, sender)
        return here.recv(2048)


def send_in_clear(one: Node, other: Node, words: bytes) -> None:
    with one.host.namespace.call(_udp_socket) as sock:
        sock.sendto(words, (other.host.address, UDP_PORT))


def _udp_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(5)
    return sock
