from __future__ import annotations

import socket
import time

import pytest

from ipop_core.lab import Host, LabError, Laboratory, LabTimeoutError, Segment

pytestmark = pytest.mark.net

PORT = 4242


@pytest.fixture
def public(lab: Laboratory) -> Segment:
    return lab.segment(ipv6=True)


@pytest.fixture
def alice(lab: Laboratory, public: Segment) -> Host:
    return lab.host("alice", public)


@pytest.fixture
def bob(lab: Laboratory, public: Segment) -> Host:
    return lab.host("bob", public)


def send(sender: Host, receiver: Host, *payloads: bytes, ipv6: bool = False) -> None:
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    with sender.namespace.call(lambda: socket.socket(family, socket.SOCK_DGRAM)) as sock:
        for payload in payloads:
            sock.sendto(payload, (receiver.address6 if ipv6 else receiver.address, PORT))


def test_a_segment_sees_what_two_hosts_exchange_once_each(
    lab: Laboratory, public: Segment, alice: Host, bob: Host
) -> None:
    before = time.time(), time.monotonic()
    with lab.capture(public) as capture:
        send(alice, bob, b"one", b"two", b"three")
        send(bob, alice, b"four")
        for last in (b"three", b"four"):  # what waits for ARP is sent later
            capture.wait_for(lambda packet, last=last: last in packet.raw)  # type: ignore[misc]
    after = time.time(), time.monotonic()

    seen = capture.datagrams(alice.address, bob.address)
    assert [packet.payload for packet in seen] == [b"one", b"two", b"three"]
    assert [packet.destination_port for packet in seen] == [PORT] * 3
    assert capture.count(bob.address, alice.address) == 1
    assert capture.count() == 4
    assert capture.dropped == 0
    for packet in seen:
        assert before[0] <= packet.time <= after[0]
        assert before[1] - 0.001 <= packet.monotonic <= after[1] + 0.001


def test_a_segment_sees_ipv6(lab: Laboratory, public: Segment, alice: Host, bob: Host) -> None:
    with lab.capture(public) as capture:
        send(alice, bob, b"six", ipv6=True)
        assert capture.wait_for_datagram(alice.address6, bob.address6).payload == b"six"


def test_what_is_between_other_hosts_is_not_on_a_hosts_card(
    lab: Laboratory, public: Segment, alice: Host, bob: Host
) -> None:
    carol = lab.host("carol", public)
    alice.run(["ping", "-c1", bob.address])  # so that the bridge knows where they are
    with lab.capture(carol) as at_carol, lab.capture(bob) as at_bob:
        send(alice, bob, b"for Bob")
        assert at_bob.wait_for_datagram(alice.address).payload == b"for Bob"
        send(alice, carol, b"for Carol")
        assert at_carol.wait_for_datagram(alice.address).payload == b"for Carol"
    assert at_carol.count() == at_bob.count() == 1


def test_waiting_ends_when_it_is_seen(lab: Laboratory, public: Segment, alice: Host, bob: Host) -> None:
    with lab.capture(public) as capture:
        send(alice, bob, b"first")
        assert capture.wait_for_datagram(alice.address, bob.address).payload == b"first"
        bob.popen(["ping", "-c1", alice.address])
        capture.wait_for(lambda packet: packet.source == bob.address and packet.protocol == 1, what="ping from Bob")


def test_waiting_in_vain_says_for_what(lab: Laboratory, public: Segment, alice: Host, bob: Host) -> None:
    with (
        lab.capture(public) as capture,
        pytest.raises(LabTimeoutError, match=f"no datagram from {bob.address} to {alice.address} on segment of"),
    ):
        send(alice, bob, b"the other way")
        capture.wait_for_datagram(bob.address, alice.address, timeout=0.05)


def test_a_canary_is_found_in_any_protocol(lab: Laboratory, public: Segment, alice: Host, bob: Host) -> None:
    with lab.capture(public) as capture:
        alice.run(["ping", "-c1", "-p", "deadbeef", bob.address])
        send(alice, bob, b"harmless")
    assert [packet.protocol for packet in capture.find(bytes.fromhex("deadbeef"))] == [1, 1]
    assert capture.find(b"canary") == []


def test_a_card_of_ones_own_can_be_watched(lab: Laboratory, alice: Host) -> None:
    alice.run(["ip", "tuntap", "add", "mode", "tap", "name", "watched"])
    alice.run(["ip", "link", "set", "watched", "up"])
    with lab.capture(alice, "watched") as capture:
        assert capture.packets() == capture.datagrams() == []


def test_a_card_that_is_not_there_is_named(lab: Laboratory, alice: Host) -> None:
    with pytest.raises(LabError, match=r"cannot capture on tapipop of ipoplab-.*alice"), lab.capture(alice, "tapipop"):
        pass


def test_a_card_that_goes_away_is_no_silence(lab: Laboratory, alice: Host) -> None:
    with lab.capture(alice) as capture:
        alice.run(["ip", "link", "delete", alice.interface])
        with pytest.raises(LabError, match="capture on eth0"):
            capture.wait_for(lambda _: False)


def test_a_search_sees_all_that_crossed_before_it(lab: Laboratory, public: Segment, alice: Host, bob: Host) -> None:
    alice.run(["ping", "-c1", bob.address])  # the first packet would wait for ARP
    with lab.capture(public) as capture:
        for sent in range(1, 101):
            send(alice, bob, b"now")
            assert capture.count(alice.address, bob.address) == sent


def test_many_datagrams_are_all_counted(lab: Laboratory, public: Segment, alice: Host, bob: Host) -> None:
    with lab.capture(public) as capture:
        send(alice, bob, *[b"x" * 1200] * 5000)
    assert capture.dropped == 0
    assert capture.count(alice.address, bob.address) == 5000
