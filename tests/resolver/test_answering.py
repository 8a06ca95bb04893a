"""What the resolver answers: its one domain, and nothing else, whatever comes."""

from __future__ import annotations

from ipaddress import ip_address

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.resolver.protocol.answering import BadQuestion, answer_with, read_question, refuse

DOMAIN = dns.name.from_text("ipop")
BOTH = [ip_address("192.168.10.20"), ip_address("fd00::20")]


def query(name: str, kind: str = "A", **options: object) -> bytes:
    return dns.message.make_query(name, kind, **options).to_wire()


@pytest.mark.parametrize(("kind", "text"), [("A", "192.168.10.20"), ("AAAA", "fd00::20")])
def test_a_member_s_addresses_of_the_kind_that_is_asked_for(kind: str, text: str) -> None:
    question = read_question(query("Bob.IPOP", kind, use_edns=True), DOMAIN)
    assert question.host == "Bob"
    answer = dns.message.from_wire(answer_with(question, DOMAIN, BOTH, 600.0))
    assert [str(item) for rrset in answer.answer for item in rrset] == [text]
    assert (answer.id, answer.rcode(), answer.answer[0].ttl) == (question.message.id, dns.rcode.NOERROR, 60)
    assert answer.flags & dns.flags.AA
    assert not answer.flags & dns.flags.RA


def test_an_address_is_never_kept_longer_than_its_lease() -> None:
    question = read_question(query("bob.ipop"), DOMAIN)
    assert dns.message.from_wire(answer_with(question, DOMAIN, BOTH, 7.9)).answer[0].ttl == 7


def test_a_member_without_an_address_of_that_kind_is_no_missing_name() -> None:
    question = read_question(query("bob.ipop", "MX"), DOMAIN)
    answer = dns.message.from_wire(answer_with(question, DOMAIN, BOTH, None))
    assert (answer.rcode(), answer.answer, len(answer.authority)) == (dns.rcode.NOERROR, [], 1)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("example.org", dns.rcode.REFUSED),
        ("bob.notipop", dns.rcode.REFUSED),
        (".", dns.rcode.REFUSED),
        ("10.10.168.192.in-addr.arpa", dns.rcode.REFUSED),
        ("a.bob.ipop", dns.rcode.NXDOMAIN),
        ("ipop", dns.rcode.NOERROR),
    ],
)
def test_what_nobody_needs_to_look_up(name: str, code: dns.rcode.Rcode) -> None:
    question = read_question(query(name), DOMAIN)
    assert (question.host, question.refusal) == (None, code)
    answer = dns.message.from_wire(refuse(question, DOMAIN, question.refusal))
    assert (answer.rcode(), answer.answer) == (code, [])


def test_other_classes_and_operations() -> None:
    assert read_question(query("bob.ipop", rdclass="CH"), DOMAIN).refusal == dns.rcode.REFUSED
    message = dns.message.make_query("bob.ipop", "A")
    message.set_opcode(dns.opcode.NOTIFY)
    assert read_question(message.to_wire(), DOMAIN).refusal == dns.rcode.NOTIMP
    message = dns.message.make_query("bob.ipop", "A")
    message.flags |= dns.flags.QR
    with pytest.raises(BadQuestion, match="an answer"):
        read_question(message.to_wire(), DOMAIN)
    with pytest.raises(BadQuestion, match="bytes"):
        read_question(bytes(1300), DOMAIN)


@given(st.data())
def test_whatever_comes_is_dropped_or_answered(data: st.DataObject) -> None:
    datagram = bytearray(data.draw(st.binary(max_size=80) | st.just(query("bob.ipop", use_edns=True))))
    for _ in range(data.draw(st.integers(0, 4)) if datagram else 0):
        datagram[data.draw(st.integers(0, len(datagram) - 1))] = data.draw(st.integers(0, 255))
    try:
        question = read_question(bytes(datagram), DOMAIN)
    except BadQuestion:
        return
    if question.host is None:
        wire = refuse(question, DOMAIN, question.refusal)
    else:
        wire = answer_with(question, DOMAIN, BOTH, None)
    assert dns.message.from_wire(wire).id == question.message.id
