"""Port mappings: PCP and NAT-PMP with routers that answer, refuse, are old, silent or mad."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol.mapping_faults import nat_pmp, pcp
from ipop_modules.tincan.link.protocol.portmap import (
    ASK_AGAIN,
    LIFETIME,
    RECOVERY,
    REPEAT_DELAYS,
    Mapped,
    PortMap,
)

OWN = IPv4Address("192.168.1.7")
OUTER = bytes([203, 0, 113, 9])
PORT = 4741
NONCE = bytes(range(12))


def asked() -> tuple[PortMap, bytes]:
    portmap = PortMap(PORT, NONCE)
    portmap.begin(OWN, 0.0)
    (request,) = portmap.wake(0.0)
    return portmap, request


def pcp_answer(request: bytes, *, result: int = 0, port: int = 50_000, lifetime: int = 600, epoch: int = 1) -> bytes:
    """As RFC 6887, figures 3 and 10."""
    header = struct.pack("!BBBBII12x", 2, 0x81, 0, result, lifetime, epoch)
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
    portmap.received(pcp_answer(request), 1.0)
    assert portmap.mapped == Mapped("pcp", OUTER, 50_000, 601.0)
    assert portmap.next_wake() == 301.0
    assert portmap.wake(301.0) == [request]
    portmap.received(pcp_answer(request, epoch=301), 301.1)
    assert portmap.mapped is not None
    assert portmap.mapped.until == pytest.approx(901.1)


def test_an_old_router_is_asked_by_nat_pmp() -> None:
    portmap, _ = asked()
    portmap.received(bytes([0, 0x81, 0, 1]), 0.1)
    address, mapping = portmap.wake(0.1)
    assert address == bytes(2)
    assert mapping == struct.pack("!BBHHHI", 0, 1, 0, PORT, PORT, LIFETIME)
    portmap.received(struct.pack("!BBHI4s", 0, 128, 0, 1, OUTER), 0.2)
    portmap.received(struct.pack("!BBHIHHI", 0, 129, 0, 1, PORT, 50_001, 7200), 0.2)
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


def test_why_there_is_no_mapping_is_said_in_the_routers_words() -> None:
    portmap, request = asked()
    assert portmap.fault == ""
    portmap.received(pcp_answer(request, result=8), 1.0)
    assert portmap.fault == "PCP: NO_RESOURCES"
    portmap.begin(OWN, 2.0)
    assert portmap.fault == "", "another router, perhaps"
    portmap.wake(2.0)
    portmap.received(bytes([0, 0x81, 0, 1]), 2.1)
    portmap.wake(2.1)
    portmap.received(struct.pack("!BBHIHHI", 0, 129, 2, 1, PORT, 0, 0), 2.2)
    assert portmap.fault == "NAT-PMP: not authorized, or switched off"
    portmap.begin(OWN, 3.0)
    for _ in range(len(REPEAT_DELAYS) + 1):
        due = portmap.next_wake()
        assert due is not None
        portmap.wake(due)
    assert portmap.fault == "no answer by PCP or NAT-PMP"
    assert (pcp(13), nat_pmp(77)) == ("PCP: EXCESSIVE_REMOTE_PEERS", "NAT-PMP: result 77")


def test_a_refusal_is_final_for_a_while_and_a_lost_mapping_ends() -> None:
    portmap, request = asked()
    portmap.received(pcp_answer(request), 0.0)
    portmap.received(pcp_answer(request, result=2, epoch=2), 1.0)
    assert portmap.mapped is not None
    portmap.wake(601.0)
    assert portmap.mapped is None


@pytest.mark.parametrize("at", [1, 24, 30, 36, 41])
def test_an_answer_to_another_request_is_passed_over(at: int) -> None:
    portmap, request = asked()
    answer = bytearray(pcp_answer(request))
    answer[at] ^= 1
    portmap.received(bytes(answer), 0.1)
    assert portmap.mapped is None


def announcement(epoch: int) -> bytes:
    """RFC 6887, section 14.1."""
    return struct.pack("!BBBBII12x", 2, 0x80, 0, 0, 0, epoch)


def nat_pmp_announcement(epoch: int, ip: bytes = OUTER) -> bytes:
    """RFC 6886, section 3.2.1."""
    return struct.pack("!BBHI4s", 0, 128, 0, epoch, ip)


def mapped_by_nat_pmp() -> PortMap:
    portmap, _ = asked()
    portmap.received(bytes([0, 0x81, 0, 1]), 0.1)
    portmap.wake(0.1)
    portmap.received(nat_pmp_announcement(1000), 0.2)
    portmap.received(struct.pack("!BBHIHHI", 0, 129, 0, 1000, PORT, 50_001, 7200), 0.2)
    assert portmap.mapped is not None
    return portmap


def test_a_mapping_is_ended_by_a_lifetime_of_nothing() -> None:
    portmap, request = asked()
    assert portmap.ending() == []
    portmap.received(pcp_answer(request), 1.0)
    (ending,) = portmap.ending()
    assert ending[:2] + ending[24:40] == request[:2] + request[24:40], "the same nonce"
    assert struct.unpack("!I", ending[4:8]) == (0,)
    assert struct.unpack("!HH", ending[40:44]) == (PORT, 0)
    assert portmap.ended(pcp_answer(ending, lifetime=0))
    assert not portmap.ended(announcement(1))


def test_a_nat_pmp_mapping_is_ended_even_while_the_router_rests() -> None:
    portmap = mapped_by_nat_pmp()
    portmap.received(struct.pack("!BBHIHHI", 0, 129, 2, 1001, PORT, 0, 0), 1.2)
    assert portmap.ending() == [struct.pack("!BBHHHI", 0, 1, 0, PORT, 0, 0)]
    assert portmap.ended(struct.pack("!BBHIHHI", 0, 129, 0, 1002, PORT, 0, 0))
    assert not portmap.ended(nat_pmp_announcement(1002))


def test_a_router_that_restarted_is_asked_at_once_and_once() -> None:
    portmap, request = asked()
    portmap.received(pcp_answer(request, epoch=1000), 1.0)
    portmap.announced(announcement(1100), 101.0)
    assert portmap.wake(101.0) == [], "it has been there all the time"
    portmap.announced(announcement(0), 110.0)
    assert portmap.wake(110.0) == [request]
    assert portmap.mapped is not None, "it may well be given the same again"
    portmap.announced(announcement(0), 110.1)
    portmap.announced(announcement(900), 110.2)
    assert portmap.wake(110.2) == []
    portmap.received(pcp_answer(request, port=50_009, epoch=901), 110.3)
    assert portmap.mapped == Mapped("pcp", OUTER, 50_009, 710.3)


def test_a_mapping_that_is_not_made_anew_is_soon_offered_no_more() -> None:
    portmap, request = asked()
    portmap.received(pcp_answer(request, epoch=1000), 1.0)
    portmap.announced(announcement(0), 110.0)
    while (due := portmap.next_wake()) is not None and due <= 110.0 + RECOVERY:
        portmap.wake(due)
    assert portmap.mapped is None


def test_a_refusal_that_shows_a_lost_table_ends_the_mapping() -> None:
    portmap, request = asked()
    portmap.received(pcp_answer(request, epoch=1000), 1.0)
    portmap.received(pcp_answer(request, result=2, epoch=5), 300.0)
    assert portmap.mapped is None


@pytest.mark.parametrize("told", [nat_pmp_announcement(3), nat_pmp_announcement(1100, bytes([203, 0, 113, 77]))])
def test_an_old_router_that_restarted_or_was_renumbered_is_asked_at_once(told: bytes) -> None:
    portmap = mapped_by_nat_pmp()
    portmap.announced(nat_pmp_announcement(1100), 100.2)
    assert portmap.wake(100.2) == []
    portmap.announced(told, 100.3)
    assert len(portmap.wake(100.3)) == 2


def test_a_router_that_was_silent_is_asked_when_it_speaks() -> None:
    portmap, request = asked()
    while (due := portmap.next_wake()) is not None and due < ASK_AGAIN:
        portmap.wake(due)
    portmap.announced(announcement(1), 100.0)
    assert portmap.wake(100.0) == [request]


@given(st.binary(max_size=80), st.binary(max_size=80), st.booleans())
def test_whatever_is_announced_the_requests_stay_few(first: bytes, second: bytes, known: bool) -> None:
    portmap, request = asked()
    if known:
        portmap.received(pcp_answer(request), 0.0)
    sent = 0
    for tenth in range(100):
        for data in (first, second, announcement(tenth % 7 * 100)):
            portmap.announced(data, tenth / 10)
        sent += len(portmap.wake(tenth / 10))
        portmap.ended(first)
    assert sent <= 3 * len(REPEAT_DELAYS)


@given(st.binary(max_size=80), st.booleans())
def test_whatever_the_router_sends_nothing_breaks(data: bytes, old: bool) -> None:
    portmap, _ = asked()
    if old:
        portmap.received(bytes([0, 0x81, 0, 1]), 0.1)
        portmap.wake(0.1)
    portmap.received(data, 0.2)
    assert (portmap.next_wake() or 0.0) <= 2 * LIFETIME + 1
