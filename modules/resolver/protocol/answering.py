"""DNS (RFC 1035) for one domain: `bob.ipop` is the member whose host name is bob, and nothing else is answered.

Every question outside the domain is refused, and nothing is ever passed on to another server.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

Address = IPv4Address | IPv6Address
LONGEST_TTL: Final = 60
"""Seconds for which programs may keep an answer: a name may move to another node."""
NEGATIVE_TTL: Final = 5
LONGEST_QUESTION: Final = 1232
"""Bytes; what EDNS calls a safe size."""


class BadQuestion(ValueError):
    """A datagram that is no question, and gets no answer."""


@dataclass(frozen=True)
class Question:
    """One to answer."""

    message: dns.message.Message
    refusal: dns.rcode.Rcode
    """What it gets where there is nobody to look up."""
    host: str | None = None
    """The label before the domain, where that is all there is before it."""


def read_question(datagram: bytes, domain: dns.name.Name) -> Question:
    """Raises BadQuestion."""
    if len(datagram) > LONGEST_QUESTION:
        raise BadQuestion(f"{len(datagram)} bytes, expected at most {LONGEST_QUESTION}")
    try:
        message = dns.message.from_wire(datagram, ignore_trailing=False)
    except (dns.exception.DNSException, ValueError) as error:
        raise BadQuestion(str(error)) from None
    if message.flags & dns.flags.QR:
        raise BadQuestion("an answer, expected a question")
    if message.opcode() != dns.opcode.QUERY:
        return Question(message, dns.rcode.NOTIMP)
    if len(message.question) != 1:
        return Question(message, dns.rcode.FORMERR)
    asked = message.question[0]
    if asked.rdclass != dns.rdataclass.IN or not asked.name.is_subdomain(domain):
        return Question(message, dns.rcode.REFUSED)
    labels = asked.name.relativize(domain).labels
    if not labels:
        return Question(message, dns.rcode.NOERROR)
    if len(labels) > 1 or not labels[0].isascii():
        return Question(message, dns.rcode.NXDOMAIN)
    return Question(message, dns.rcode.SERVFAIL, labels[0].decode("ascii"))


def refuse(question: Question, domain: dns.name.Name, code: dns.rcode.Rcode) -> bytes:
    """An answer without addresses."""
    answer = _response(question)
    answer.set_rcode(code)
    if code in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        answer.authority.append(_start_of_authority(domain))
    return answer.to_wire()


def answer_with(question: Question, domain: dns.name.Name, addresses: Iterable[Address], ttl: float | None) -> bytes:
    """The member's addresses of the kind that was asked for; `ttl` in seconds, None for as long as is usual."""
    answer, asked = _response(question), question.message.question[0]
    version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(asked.rdtype)
    texts = [str(address) for address in addresses if address.version == version]
    if not texts:
        return refuse(question, domain, dns.rcode.NOERROR)
    seconds = LONGEST_TTL if ttl is None else max(0, min(LONGEST_TTL, int(ttl)))
    answer.answer.append(dns.rrset.from_text_list(asked.name, seconds, asked.rdclass, asked.rdtype, texts))
    return answer.to_wire()


def _response(question: Question) -> dns.message.Message:
    answer = dns.message.make_response(question.message)
    answer.flags |= dns.flags.AA
    return answer


def _start_of_authority(domain: dns.name.Name) -> dns.rrset.RRset:
    """Says for how long a name that is not there may be taken as not there (RFC 2308)."""
    numbers = f"1 3600 600 86400 {NEGATIVE_TTL}"
    return dns.rrset.from_text(
        domain, NEGATIVE_TTL, dns.rdataclass.IN, dns.rdatatype.SOA, f"{domain} {domain} {numbers}"
    )
