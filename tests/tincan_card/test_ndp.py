from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.card.protocol import ndp

from .packets import ALICE6, ALICE_MAC, BOB6, BOB_MAC, ethernet, ip6, pseudo, rfc1071

SOLICITATION = ndp.solicitation(ALICE_MAC, ALICE6, BOB6)
SOLICITED = ip_address("ff02::1:ff00:20").packed


def solicit(
    body: bytes, *, source: bytes = ALICE6, destination: bytes = SOLICITED, hops: int = 255, mac: bytes = ALICE_MAC
) -> bytes:
    """A frame with this ICMPv6 body (checksum left zero in it) and a right checksum."""
    value = ~rfc1071(pseudo(source, destination, 58, len(body)) + body) & 0xFFFF
    packet = ip6(body[:2] + value.to_bytes(2, "big") + body[4:], 58, source=source, destination=destination, hops=hops)
    return ethernet(packet, source=mac, destination=b"\x33\x33" + destination[12:])


def body(kind: int = 135, target: bytes = BOB6, options: bytes = b"\1\1" + ALICE_MAC, code: int = 0) -> bytes:
    return bytes([kind, code]) + bytes(6) + target + options


def test_a_solicitation_is_built_and_parsed() -> None:
    assert solicit(body()) == SOLICITATION
    assert ndp.parse(SOLICITATION) == ndp.Message(ndp.SOLICITATION, ALICE6, BOB6, ALICE_MAC)


def test_an_advertisement_answers_it() -> None:
    frame = ndp.advertisement(BOB_MAC, BOB6, ALICE_MAC, ALICE6)
    assert frame[:12] == ALICE_MAC + BOB_MAC
    assert frame[58:62] == bytes.fromhex("60000000")
    assert ndp.parse(frame) == ndp.Message(ndp.ADVERTISEMENT, BOB6, BOB6, BOB_MAC)


def test_a_duplicate_probe_is_answered_to_all_nodes() -> None:
    probe = ndp.parse(solicit(body(options=b""), source=bytes(16)))
    assert probe == ndp.Message(ndp.SOLICITATION, bytes(16), BOB6, ALICE_MAC)
    frame = ndp.advertisement(BOB_MAC, BOB6, ALICE_MAC, bytes(16))
    assert frame[:6] == bytes.fromhex("333300000001")
    assert frame[38:54] == ip_address("ff02::1").packed
    assert frame[58:62] == bytes.fromhex("20000000")
    assert ndp.parse(frame) is not None


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(solicit(body(), hops=64), id="hop limit"),
        pytest.param(solicit(body(code=1)), id="code"),
        pytest.param(solicit(body(kind=134)), id="router advertisement"),
        pytest.param(solicit(body(target=SOLICITED)), id="multicast target"),
        pytest.param(solicit(body(target=bytes(16))), id="unspecified target"),
        pytest.param(solicit(body(options=b"\1\0" + ALICE_MAC)), id="option of length zero"),
        pytest.param(solicit(body(options=b"\1\2" + ALICE_MAC)), id="option too long"),
        pytest.param(solicit(body(options=b"\1")), id="half an option"),
        pytest.param(solicit(body(options=b"\1\2" + bytes(14))), id="option of another size"),
        pytest.param(solicit(body(options=b"\1\1" + b"\1" * 6)), id="group address in option"),
        pytest.param(solicit(body(), source=bytes(16)), id="probe with option"),
        pytest.param(solicit(body(options=b""), source=bytes(16), destination=BOB6), id="probe to unicast"),
        pytest.param(solicit(body(), source=SOLICITED), id="multicast source"),
        pytest.param(solicit(body(), mac=b"\1" * 6), id="group source"),
        pytest.param(solicit(body())[:-1], id="short"),
        pytest.param(SOLICITATION[:56] + b"\0\0" + SOLICITATION[58:], id="checksum"),
    ],
)
def test_malformed_messages_are_refused(frame: bytes) -> None:
    assert ndp.parse(frame) is None


def test_link_local_addresses_hold_the_mac() -> None:
    address = ip_address("fe80::3456:78ff:fe9a:bcde").packed
    mac = bytes.fromhex("36 56 78 9a bc de")
    assert ndp.link_local_of(mac) == address
    assert ndp.mac_of_link_local(address) == mac
    assert ndp.mac_of_link_local(BOB6) is None
    assert ndp.mac_of_link_local(ip_address("fe80::1").packed) is None
    assert ndp.mac_of_link_local(b"\xfe\x80\0\0") is None


@given(st.binary(max_size=120), st.binary(max_size=40))
def test_random_input_never_raises(data: bytes, options: bytes) -> None:
    ndp.parse(data)
    ndp.parse(solicit(body(options=options)))


@given(st.integers(0, len(SOLICITATION) - 1), st.integers(1, 255))
def test_altered_input_is_refused(at: int, flip: int) -> None:
    """But for the destination, the traffic class and the flow label, which no rule checks, nor a checksum covers."""
    altered = bytearray(SOLICITATION)
    altered[at] ^= flip
    unchecked = at < 12 or 14 <= at < 18
    assert unchecked or ndp.parse(bytes(altered)) is None
