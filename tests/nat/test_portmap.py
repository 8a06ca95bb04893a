"""Port mappings: PCP and NAT-PMP with routers that answer, refuse, are old, silent or mad."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol.portmap import ASK_AGAIN, LIFETIME, REPEAT_DELAYS, Mapped, PortMap

OWN = IPv4Address("192.168.1.7")
OUTER = bytes([203, 0, 113, 9])
PORT = 4741


def asked() -> tuple[PortMap, bytes]:
    portmap = PortMap(PORT, lambda size: bytes(range(size)))
    portmap.begin(OWN, 0.0)
    (request,) = portmap.wake(0.0)
    return portmap, request


def pcp_answer(request: bytes, *, result: int = 0, port: int = 50_000, lifetime: int = 600) -> bytes:
    """As RFC 6887, figures 3 and 10."""
    header = struct.pack("!BBBBII12x", 2, 0x81, 0, result, lifetime, 1)
    return header + request[24:42] + struct.pack("!H", port) + bytes(10) + b"\xff\xff" + OUTER


def test_a_request_is_laid_out_as_rfc_6887_says() -> None:
    _, request = asked()
    assert len(request) == 60
    assert request[:2] == b"\x02\x01"
    assert struct.unpack("!I", request[4:8])[0] == LIFETIME
    assert request[8:24] == bytes(10) + b"\xff\xff" + OWN.packed
    assert (request[36], struct.unpack("!HH", request[40:44])) == (17, (PORT, PORT))


def test_a_mapping_is_taken_and_renewed_at_half_its_life() -> None:
    portmap, request = asked()
    assert portmap.received(pcp_answer(request), 1.0)
    assert portmap.mapped == Mapped("pcp", OUTER, 50_000, 601.0)
    assert portmap.next_wake() == 301.0
    assert portmap.wake(301.0) == [request]
    portmap.received(pcp_answer(request), 301.1)
    assert portmap.mapped is not None
    assert portmap.mapped.until == pytest.approx(901.1)


def test_an_old_router_is_asked_by_nat_pmp() -> None:
    portmap, _ = asked()
    assert not portmap.received(bytes([0, 0x81, 0, 1]), 0.1)
    address, mapping = portmap.wake(0.1)
    assert address == bytes(2)
    assert mapping == struct.pack("!BBHHHI", 0, 1, 0, PORT, PORT, LIFETIME)
    portmap.received(struct.pack("!BBHI4s", 0, 128, 0, 1, OUTER), 0.2)
    assert portmap.received(struct.pack("!BBHIHHI", 0, 129, 0, 1, PORT, 50_001, 7200), 0.2)
    assert portmap.mapped == Mapped("nat-pmp", OUTER, 50_001, 7200.2)


def test_a_silent_router_is_left_alone_after_a_few_tries() -> None:
    portmap, _ = asked()
    now, sent = 0.0, 1
    while now < 60:
        due = portmap.next_wake()
        assert due is not None
        now = due
        sent += len(portmap.wake(now))
    assert sent == len(REPEAT_DELAYS) + 1, "the first of the next round, a quarter of an hour later"
    assert now >= ASK_AGAIN


def test_a_refusal_is_final_for_a_while_and_a_lost_mapping_ends() -> None:
    portmap, request = asked()
    portmap.received(pcp_answer(request), 0.0)
    portmap.received(pcp_answer(request, result=2), 1.0)
    assert portmap.mapped is not None
    portmap.wake(601.0)
    assert portmap.mapped is None


@pytest.mark.parametrize("at", [1, 24, 30, 36, 41])
def test_an_answer_to_another_request_is_passed_over(at: int) -> None:
    portmap, request = asked()
    answer = bytearray(pcp_answer(request))
    answer[at] ^= 1
    assert not portmap.received(bytes(answer), 0.1)
    assert portmap.mapped is None


@given(st.binary(max_size=80), st.booleans())
def test_whatever_the_router_sends_nothing_breaks(data: bytes, old: bool) -> None:
    portmap, _ = asked()
    if old:
        portmap.received(bytes([0, 0x81, 0, 1]), 0.1)
        portmap.wake(0.1)
    portmap.received(data, 0.2)
    assert (portmap.next_wake() or 0.0) <= 2 * LIFETIME + 1
