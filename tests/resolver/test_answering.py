"""What the resolver answers: its one domain, and nothing else, whatever comes."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.resolver.protocol.answering import (
    BadQuestion,
    answer_with,
    answer_with_name,
    read_question,
    refuse,
)
from ipop_modules.resolver.protocol.zones import MOST_ZONES, Zones, reverse_zones

DOMAIN = dns.name.from_text("ipop")
ZONES = Zones("ipop", [ip_network("192.168.10.0/24"), ip_network("fd00::/64")])
BOTH = [ip_address("192.168.10.20"), ip_address("fd00::20")]


def query(name: Any, kind: str = "A", **options: object) -> bytes:
    return dns.message.make_query(name, kind, **options).to_wire()


@pytest.mark.parametrize(("kind", "text"), [("A", "192.168.10.20"), ("AAAA", "fd00::20")])
def test_a_member_s_addresses_of_the_kind_that_is_asked_for(kind: str, text: str) -> None:
    question = read_question(query("Bob.IPOP", kind, use_edns=True), ZONES)
    assert question.place.host == "Bob"
    answer = dns.message.from_wire(answer_with(question, BOTH, 600.0))
    assert [str(item) for rrset in answer.answer for item in rrset] == [text]
    assert (answer.id, answer.rcode(), answer.answer[0].ttl) == (question.message.id, dns.rcode.NOERROR, 60)
    assert answer.flags & dns.flags.AA
    assert not answer.flags & dns.flags.RA


def test_an_address_is_never_kept_longer_than_its_lease() -> None:
    question = read_question(query("bob.ipop"), ZONES)
    assert dns.message.from_wire(answer_with(question, BOTH, 7.9)).answer[0].ttl == 7


def test_a_member_without_an_address_of_that_kind_is_no_missing_name() -> None:
    question = read_question(query("bob.ipop", "MX"), ZONES)
    answer = dns.message.from_wire(answer_with(question, BOTH, None))
    assert (answer.rcode(), answer.answer, len(answer.authority)) == (dns.rcode.NOERROR, [], 1)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("example.org", dns.rcode.REFUSED),
        ("bob.notipop", dns.rcode.REFUSED),
        (".", dns.rcode.REFUSED),
        ("10.11.168.192.in-addr.arpa", dns.rcode.REFUSED),
        ("168.192.in-addr.arpa", dns.rcode.REFUSED),
        ("10.168.192.in-addr.arpa", dns.rcode.NOERROR),
        ("300.10.168.192.in-addr.arpa", dns.rcode.NXDOMAIN),
        ("x.20.10.168.192.in-addr.arpa", dns.rcode.NXDOMAIN),
        (12 * "0." + "0.0.d.f.ip6.arpa", dns.rcode.NOERROR),
        (20 * "0." + "0.0.d.f.ip6.arpa", dns.rcode.NOERROR),
        (30 * "0." + "0.0.d.f.ip6.arpa", dns.rcode.NXDOMAIN),
        (11 * "0." + "0.0.d.f.ip6.arpa", dns.rcode.REFUSED),
        ("a.bob.ipop", dns.rcode.NXDOMAIN),
        ("ipop", dns.rcode.NOERROR),
    ],
)
def test_what_nobody_needs_to_look_up(name: str, code: dns.rcode.Rcode) -> None:
    question = read_question(query(name), ZONES)
    assert (question.place.host, question.place.code) == (None, code)
    answer = dns.message.from_wire(refuse(question))
    assert (answer.rcode(), answer.answer) == (code, [])


def test_other_classes_and_operations() -> None:
    assert read_question(query("bob.ipop", rdclass="CH"), ZONES).place.code == dns.rcode.REFUSED
    message = dns.message.make_query("bob.ipop", "A")
    message.set_opcode(dns.opcode.NOTIFY)
    assert read_question(message.to_wire(), ZONES).place.code == dns.rcode.NOTIMP
    message = dns.message.make_query("bob.ipop", "A")
    message.flags |= dns.flags.QR
    with pytest.raises(BadQuestion, match="an answer"):
        read_question(message.to_wire(), ZONES)
    with pytest.raises(BadQuestion, match="bytes"):
        read_question(bytes(1300), ZONES)


@given(st.data())
def test_whatever_comes_is_dropped_or_answered(data: st.DataObject) -> None:
    datagram = bytearray(data.draw(st.binary(max_size=80) | st.just(query("bob.ipop", use_edns=True))))
    for _ in range(data.draw(st.integers(0, 4)) if datagram else 0):
        datagram[data.draw(st.integers(0, len(datagram) - 1))] = data.draw(st.integers(0, 255))
    try:
        question = read_question(bytes(datagram), ZONES)
    except BadQuestion:
        return
    for wire in (refuse(question), answer_with(question, BOTH, None) if question.place.host else refuse(question)):
        assert dns.message.from_wire(wire).id == question.message.id
        assert len(wire) <= question.longest


@pytest.mark.parametrize("address", BOTH)
def test_the_name_of_an_address(address: Any) -> None:
    reverse = dns.reversename.from_address(str(address))
    question = read_question(query(reverse, "PTR"), ZONES)
    assert (question.place.address, question.place.host) == (address, None)
    answer = dns.message.from_wire(answer_with_name(question, "bob", ZONES.domain, None))
    assert [str(item) for item in answer.answer[0]] == ["bob.ipop."]
    question = read_question(query(reverse, "A"), ZONES)
    answer = dns.message.from_wire(answer_with_name(question, "bob", ZONES.domain, None))
    assert (answer.rcode(), answer.answer, answer.authority[0].name.is_superdomain(reverse)) == (0, [], True)


def test_an_address_outside_our_networks_has_no_name_here() -> None:
    for address in ("192.168.11.1", "8.8.8.8", "fd00:0:0:1::1"):
        question = read_question(query(dns.reversename.from_address(address), "PTR"), ZONES)
        assert (question.place.code, question.place.address) == (dns.rcode.REFUSED, None)


@given(
    st.builds(
        lambda number, length: ip_network((number, length), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)
    )
    | st.builds(
        lambda number, length: ip_network((number.to_bytes(16), length), strict=False),
        st.integers(0, 2**128 - 1),
        st.integers(0, 128),
    ),
    st.data(),
)
def test_reverse_zones_hold_their_network_and_nothing_else(network: Any, data: st.DataObject) -> None:
    zones = list(reverse_zones(network))
    assert len(zones) <= MOST_ZONES
    number = data.draw(st.integers(0, 2**network.max_prefixlen - 1) | st.integers(int(network[0]), int(network[-1])))
    address = ip_address(number.to_bytes(network.max_prefixlen // 8))
    name = dns.reversename.from_address(str(address))
    if zones:
        assert any(name.is_subdomain(zone) for zone in zones) == (address in network)
    place = Zones("ipop", [network]).find(name)
    assert (place is not None and place.address == address) == (address in network)


MANY = [ip_address(f"192.168.10.{last}") for last in range(1, 201)]


@pytest.mark.parametrize(
    ("options", "longest"),
    [
        ({}, 512),
        ({"use_edns": True, "payload": 4096}, 1232),
        ({"use_edns": True, "payload": 700}, 700),
        ({"use_edns": True, "payload": 0}, 512),
    ],
)
def test_an_answer_is_no_longer_than_the_asker_takes(options: Any, longest: int) -> None:
    question = read_question(query("bob.ipop", **options), ZONES)
    assert question.longest == longest
    few = (longest - 60) // 16
    answer = dns.message.from_wire(answer_with(question, MANY[:few], None))
    assert (len(answer.answer[0]), answer.flags & dns.flags.TC) == (few, 0)
    wire = answer_with(question, MANY[: few + 4], None)
    assert len(wire) <= longest
    answer = dns.message.from_wire(wire)
    assert answer.flags & dns.flags.TC
    assert (answer.answer, answer.rcode(), answer.edns) == ([], dns.rcode.NOERROR, 0 if options else -1)
    question = read_question(query("bob.ipop", **options), ZONES, stream=True)
    answer = dns.message.from_wire(answer_with(question, MANY, None))
    assert (len(answer.answer[0]), answer.flags & dns.flags.TC) == (200, 0)


def test_a_later_version_of_edns_is_told_so() -> None:
    question = read_question(query("bob.ipop", use_edns=1), ZONES)
    answer = dns.message.from_wire(refuse(question))
    assert (answer.rcode(), answer.edns) == (dns.rcode.BADVERS, 0)
