"""The policies of a card, tried against packets as the kernel would: the lowest priority that matches counts."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.ipsec.policies import Direction, Policy, policies_for

CARD, LOOPBACK, OTHER_CARD, UNKNOWN = 7, 1, 3, 0
INTERFACES = [ip_interface("192.168.10.10/24"), ip_interface("fd00:10::10/64")]
POLICIES = policies_for(INTERFACES, CARD)


@dataclass
class Packet:
    """`card` is the interface index that the kernel asks with."""

    direction: Direction
    source: str
    destination: str
    card: int
    icmp6_type: int | None = None


def verdict(packet: Packet) -> str:
    found = [policy for policy in POLICIES if _matches(policy, packet)]
    return min(found, key=lambda policy: policy.priority).action if found else "none"


def _matches(policy: Policy, packet: Packet) -> bool:
    source, destination = ip_address(packet.source), ip_address(packet.destination)
    return (
        policy.direction == packet.direction
        and source in policy.source
        and destination in policy.destination
        and policy.card in (0, packet.card)
        and policy.icmp6_type in (None, packet.icmp6_type)
    )


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (Packet("out", "192.168.10.10", "192.168.10.20", CARD), "esp"),
        (Packet("in", "192.168.10.20", "192.168.10.10", LOOPBACK), "esp"),
        (Packet("out", "192.168.10.10", "192.168.10.255", CARD), "block"),
        (Packet("out", "192.168.10.10", "224.0.0.251", CARD), "block"),
        (Packet("out", "10.0.0.1", "192.168.10.20", CARD), "block"),
        (Packet("in", "192.168.10.20", "224.0.0.251", LOOPBACK), "block"),
        (Packet("in", "192.168.10.20", "10.0.0.1", LOOPBACK), "block"),
        (Packet("fwd", "192.168.10.20", "10.0.0.2", OTHER_CARD), "block"),
        (Packet("fwd", "10.0.0.2", "192.168.10.20", CARD), "block"),
        (Packet("out", "fd00:10::10", "fd00:10::20", UNKNOWN), "esp"),
        (Packet("out", "fd00:10::10", "fd00:10::20", CARD), "esp"),
        (Packet("in", "fd00:10::20", "fd00:10::10", LOOPBACK), "esp"),
        (Packet("out", "fd00:10::10", "2001:db8::1", UNKNOWN), "block"),
        (Packet("out", "2001:db8::2", "fd00:10::20", UNKNOWN), "block"),
        (Packet("out", "fd00:10::10", "ff02::fb", CARD), "block"),
        (Packet("out", "fe80::1", "fe80::2", CARD), "block"),
        (Packet("in", "fe80::2", "fe80::1", CARD), "block"),
        (Packet("out", "fe80::1", "ff02::1:ff00:20", CARD, icmp6_type=135), "allow"),
        (Packet("out", "fd00:10::10", "fd00:10::20", CARD, icmp6_type=136), "allow"),
        (Packet("in", "fd00:10::20", "fd00:10::10", LOOPBACK, icmp6_type=136), "allow"),
        (Packet("in", "fe80::2", "fe80::1", CARD, icmp6_type=135), "allow"),
        (Packet("out", "fe80::1", "ff02::16", CARD, icmp6_type=143), "block"),
        (Packet("out", "fd00:10::10", "fd00:10::10", UNKNOWN), "allow"),
        (Packet("in", "fd00:10::10", "fd00:10::10", LOOPBACK), "allow"),
        (Packet("out", "10.0.0.1", "10.0.0.2", OTHER_CARD), "none"),
        (Packet("out", "fe80::1", "fe80::2", OTHER_CARD), "none"),
        (Packet("in", "2001:db8::1", "2001:db8::2", LOOPBACK), "none"),
        (Packet("fwd", "10.0.0.2", "10.1.0.2", OTHER_CARD), "none"),
    ],
    ids=str,
)
def test_what_becomes_of(packet: Packet, expected: str) -> None:
    assert verdict(packet) == expected


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_no_ipv4_packet_passes_the_card_unprotected(source: int, destination: int) -> None:
    packet = Packet("out", str(IPv4Address(source)), str(IPv4Address(destination)), CARD)
    assert verdict(packet) in ("esp", "block")


@given(st.integers(0, 2**128 - 1), st.integers(0, 255))
def test_no_ipv6_packet_of_the_subnet_passes_unprotected(suffix: int, kind: int) -> None:
    subnet = INTERFACES[1].network
    peer = IPv6Address(int(subnet.network_address) | suffix & int(subnet.hostmask))
    if peer == INTERFACES[1].ip or kind in (135, 136):
        return
    out = Packet("out", str(INTERFACES[1].ip), str(peer), UNKNOWN, kind)
    back = Packet("in", str(peer), str(INTERFACES[1].ip), LOOPBACK, kind)
    assert (verdict(out), verdict(back)) == ("esp", "esp")
