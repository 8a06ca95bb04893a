from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.card.protocol import arp, ndp, source

from .packets import (
    ALICE4,
    ALICE6,
    ALICE_MAC,
    BOB4,
    BOB6,
    BOB_MAC,
    UDP,
    ethernet,
    ip4,
    ip6,
    udp,
)

CHECK = source.SourceCheck(BOB_MAC, ALICE_MAC, [BOB4, BOB6])
DISCOVERY = bytes([135, 0]) + bytes(22)
LINK_LOCAL = ndp.link_local_of(BOB_MAC)


def v4(address: bytes | str) -> bytes:
    packed = ip_address(address).packed if isinstance(address, str) else address
    return ethernet(ip4(udp(b"x"), UDP, source=packed))


def v6(address: bytes, body: bytes = udp(b"x"), protocol: int = UDP) -> bytes:
    return ethernet(ip6(body, protocol, source=address))


@pytest.mark.parametrize("frame", [v4(BOB4), v6(BOB6), v6(LINK_LOCAL), v6(BOB6, b"\x80\0" + bytes(6), 58)])
def test_a_peer_sends_as_itself(frame: bytes) -> None:
    assert CHECK.refusal(memoryview(frame)) == source.ALLOWED


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        pytest.param(v4(ALICE4), source.ADDRESS, id="our own address"),
        pytest.param(v4("192.168.10.21"), source.ADDRESS, id="a third node's address"),
        pytest.param(v4("0.0.0.0"), source.ADDRESS, id="unspecified"),
        pytest.param(v4("255.255.255.255"), source.ADDRESS, id="broadcast"),
        pytest.param(v4("224.0.0.1"), source.ADDRESS, id="multicast"),
        pytest.param(v6(ALICE6), source.ADDRESS, id="our own IPv6 address"),
        pytest.param(v6(bytes(16)), source.ADDRESS, id="unspecified IPv6"),
        pytest.param(v6(ndp.link_local_of(ALICE_MAC)), source.ADDRESS, id="our link-local"),
        pytest.param(v6(ip_address("fe80::1").packed), source.ADDRESS, id="a made-up link-local"),
        pytest.param(ALICE_MAC + ALICE_MAC + v4(BOB4)[12:], source.HARDWARE, id="our hardware address"),
        pytest.param(ALICE_MAC + ALICE_MAC + v6(BOB6)[12:], source.HARDWARE, id="our hardware address, IPv6"),
        pytest.param(BOB_MAC + v4(BOB4)[6:], source.DESTINATION, id="not for us"),
        pytest.param(b"\xff" * 6 + v4(BOB4)[6:], source.DESTINATION, id="broadcast frame"),
        pytest.param(arp.reply(BOB_MAC, BOB4, ALICE_MAC, ALICE4), source.ETHERTYPE, id="ARP"),
        pytest.param(ethernet(ip4(b"", 0), ethertype=0x8100), source.ETHERTYPE, id="VLAN"),
        pytest.param(ndp.advertisement(BOB_MAC, BOB6, ALICE_MAC, ALICE6), source.DISCOVERY, id="advertisement"),
        pytest.param(v6(BOB6, b"\x86\0" + bytes(14), 58), source.DISCOVERY, id="router advertisement"),
        pytest.param(v6(BOB6, b"\x3a\0" + bytes(6) + DISCOVERY, 0), source.DISCOVERY, id="behind hop-by-hop"),
        pytest.param(v6(BOB6, b"\x3a\1" + bytes(14) + DISCOVERY, 60), source.DISCOVERY, id="behind options"),
        pytest.param(v6(BOB6, b"\x3a\2" + bytes(14) + DISCOVERY, 51), source.DISCOVERY, id="behind authentication"),
        pytest.param(v6(BOB6, b"\x3a\0\0\1" + bytes(4) + DISCOVERY, 44), source.DISCOVERY, id="first fragment"),
        pytest.param(v6(BOB6, b"\x00\0" + bytes(6) + b"\x3a\0" + bytes(6) + DISCOVERY, 60), source.DISCOVERY, id="two"),
        pytest.param(v6(BOB6, b"\x3a\xff" + bytes(14), 0), source.MALFORMED, id="header beyond the end"),
        pytest.param(v6(BOB6, b"", 58), source.MALFORMED, id="no type"),
        pytest.param(v4(BOB4)[:14] + b"\x65" + v4(BOB4)[15:], source.MALFORMED, id="version"),
        pytest.param(v4(BOB4)[:30], source.SHORT, id="short"),
        pytest.param(v6(BOB6)[:50], source.SHORT, id="short IPv6"),
    ],
)
def test_everything_else_is_refused(frame: bytes, reason: str) -> None:
    assert CHECK.refusal(memoryview(frame)) == reason


def test_a_later_fragment_has_no_header_to_look_at() -> None:
    assert CHECK.refusal(memoryview(v6(BOB6, b"\x3a\0\0\x08" + bytes(4) + DISCOVERY, 44))) == source.ALLOWED


def test_broadcast_only_when_the_caller_allows_it() -> None:
    frame = memoryview(b"\xff" * 6 + v4(BOB4)[6:])
    assert CHECK.refusal(frame, broadcast=True) == source.ALLOWED
    assert CHECK.refusal(memoryview(BOB_MAC + v4(BOB4)[6:]), broadcast=True) == source.DESTINATION


def test_a_prefix_is_granted_besides() -> None:
    prefixes = [ip_network("10.1.0.0/16"), ip_network("0.0.0.0/0")][:1]
    check = source.SourceCheck(BOB_MAC, ALICE_MAC, [BOB4], prefixes)
    assert check.refusal(memoryview(v4("10.1.2.3"))) == source.ALLOWED
    assert check.refusal(memoryview(v4("10.2.2.3"))) == source.ADDRESS
    assert check.refusal(memoryview(v4(BOB4))) == source.ALLOWED
    wide = source.SourceCheck(BOB_MAC, ALICE_MAC, [], [ip_network("0.0.0.0/0"), ip_network("::/0")])
    for address in ("255.255.255.255", "224.0.0.1", "0.0.0.0"):
        assert wide.refusal(memoryview(v4(address))) == source.ADDRESS
    for packed in (bytes(16), ip_address("ff02::1").packed):
        assert wide.refusal(memoryview(v6(packed))) == source.ADDRESS
    assert wide.refusal(memoryview(v6(BOB6))) == source.ALLOWED


def test_group_addresses_are_never_confirmed() -> None:
    check = source.SourceCheck(BOB_MAC, ALICE_MAC, [bytes(4), b"\xff" * 4, bytes(16)])
    assert check.refusal(memoryview(v4("0.0.0.0"))) == source.ADDRESS
    assert check.refusal(memoryview(v4("255.255.255.255"))) == source.ADDRESS


@given(st.binary(max_size=120), st.sampled_from([b"\x08\x00", b"\x86\xdd"]))
def test_random_input_never_raises(data: bytes, ethertype: bytes) -> None:
    CHECK.refusal(memoryview(data))
    CHECK.refusal(memoryview(ALICE_MAC + BOB_MAC + ethertype + data))
    CHECK.refusal(memoryview(v6(BOB6, data, 0)))
