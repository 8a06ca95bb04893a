"""What crosses the card while IPsec is on, off on one side and off on both."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from ipop_core.lab import Capture
from tests.uml.town import CARD, Member, Town, eventually

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow]

BEEF = bytes.fromhex("deadbeef" * 4)
ESP = 50
AMOUNT = "16M"
"""Bytes of a TCP transfer: some seconds with ESP."""


def esp_packets(capture: Capture) -> int:
    return sum(_protocol(packet.raw) == ESP for packet in capture.packets())


def _protocol(raw: bytes) -> int:
    return raw[9] if raw[0] >> 4 == 4 else raw[6]


@pytest.fixture
def both_on(town: Town) -> Iterator[Town]:
    yield town
    for member in town.members:
        member.ask("on")
        member.serving()


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_every_ping_is_answered_from_the_very_first_and_nobody_can_read_it(town: Town, family: str) -> None:
    address = town.bob.address if family == "IPv4" else town.bob.address6
    with Capture(town.alice.namespace, CARD) as capture:
        ping = town.alice.ping(address, "-p", "deadbeef", count=10)
    assert ping.received == ping.sent == 10, ping
    assert capture.find(BEEF) == []
    assert esp_packets(capture) >= 20
    status = town.alice.ask("status")
    assert address in [item["peer"] for item in status["associations"] if item["state"] == "protected"]
    print(f"{family}: first answer after {ping.times[0]} ms")


def test_off_on_one_side_nothing_flows_and_off_on_both_everything_is_readable(both_on: Town) -> None:
    alice, bob = both_on.members
    bob.ask("off")
    with Capture(alice.namespace, CARD) as capture:
        assert alice.ping(bob.address, "-W", "1", "-p", "deadbeef", count=5).received == 0
        assert bob.ping(alice.address, "-W", "1", "-p", "deadbeef", count=5).received == 0
    assert not [packet for packet in capture.find(BEEF) if packet.source == alice.address]
    alice.ask("off")
    with Capture(alice.namespace, CARD) as capture:
        ping = alice.ping(bob.address, "-p", "deadbeef", count=5)
    assert ping.received == ping.sent == 5
    assert len(capture.find(BEEF)) >= 10
    assert "dev tapipop" not in alice.run("ip", "xfrm", "policy")
    eventually(lambda: alice.run("ip", "xfrm", "state"), lambda states: not states)  # a larval one ends by itself
    for member in both_on.members:
        member.ask("on")
        member.serving()
    with Capture(alice.namespace, CARD) as capture:
        ping = alice.ping(bob.address, "-p", "deadbeef", count=5)
    assert ping.received == ping.sent == 5
    assert capture.find(BEEF) == []


def test_plaintext_from_one_who_has_no_ipsec_never_comes_in(both_on: Town) -> None:
    alice, bob = both_on.members
    bob.ask("off")
    for address, family in ((alice.address, socket.AF_INET), (alice.address6, socket.AF_INET6)):
        with _udp(alice, family) as heard, _udp(bob, family) as sender:
            heard.bind(("", 7777))
            heard.settimeout(1.0)
            with Capture(alice.namespace, CARD) as capture:
                sender.sendto(BEEF, (address, 7777))
                eventually(lambda: capture.find(BEEF), bool)
                with pytest.raises(TimeoutError):
                    heard.recv(100)


def test_multicast_and_broadcast_do_not_leave_and_neighbours_are_found(town: Town) -> None:
    alice, bob = town.members
    with Capture(alice.namespace, CARD) as capture:
        for group, family in (("224.0.0.251", socket.AF_INET), ("192.168.10.255", socket.AF_INET)):
            with _udp(alice, family) as sender, pytest.raises(PermissionError):
                sender.sendto(BEEF, (group, 5353))
        with _udp(alice, socket.AF_INET6) as sender, pytest.raises(PermissionError):
            sender.sendto(BEEF, ("ff02::fb", 5353, 0, alice.namespace.call(lambda: socket.if_nametoindex(CARD))))
        alice.run("ip", "neigh", "flush", "dev", CARD)
        ping = alice.ping(bob.address6, count=3)
    assert ping.received == ping.sent == 3
    assert capture.find(BEEF) == []


def test_full_size_tcp_both_ways(both_on: Town) -> None:
    alice, bob = both_on.members
    protected = [_tcp(alice, bob), _tcp(alice, bob, "--reverse")]
    assert all(megabits > 1 for megabits in protected), protected
    for size in ("1472", "4000", "65000"):
        assert alice.ping(bob.address, "-s", size, count=3).received == 3, size
    for member in both_on.members:
        member.ask("off")
    plain = [_tcp(alice, bob), _tcp(alice, bob, "--reverse")]
    print(f"TCP, Mbit/s there and back: IPsec {protected}, plain {plain}")


def _tcp(client: Member, server: Member, *options: str) -> float:
    """Mbit/s."""
    process = server.namespace.popen(["iperf3", "-s", "-1", "-p", "5201"])
    eventually(lambda: server.run("ss", "-Hltn", "sport = 5201"), bool)
    output = client.run("iperf3", "--json", "-c", server.address, "-n", AMOUNT, *options)
    process.wait(10)
    return round(float(json.loads(output)["end"]["sum_received"]["bits_per_second"]) / 1e6, 1)


def _udp(member: Member, family: int) -> socket.socket:
    def make() -> socket.socket:
        made = socket.socket(family, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if family == socket.AF_INET:
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(member.address))
        return made

    return member.namespace.call(make)
