"""DNS (RFC 1035) for the names of one virtual network, and for no others.

Every question outside our zones is refused, and nothing is ever passed on to another server. An answer that is too long
for a datagram is sent without its records and with the bit TC set (RFC 1035 section 4.1.1): then it is asked for over
TCP. How long a datagram may be, the question says itself (EDNS, RFC 6891), within bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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

from ipop_modules.resolver.protocol.zones import Address, Place, Zones

LONGEST_TTL: Final = 60
"""Seconds for which programs may keep an answer: a name may move to another node."""
NEGATIVE_TTL: Final = 5
SAFE_SIZE: Final = 1232
"""Bytes of a datagram that are never cut into fragments on the way: no question may be longer, and no answer is."""
PLAIN_SIZE: Final = 512
"""Bytes of an answer by datagram where the question has no EDNS."""
STREAM_SIZE: Final = 65_535
_NOBODY: Final = Place(dns.name.root, dns.rcode.REFUSED)


class BadQuestion(ValueError):
    """A message that is no question, and gets no answer."""


@dataclass(frozen=True)
class Question:
    """One to answer."""

    message: dns.message.Message
    place: Place
    longest: int
    """Bytes that the answer may have."""


def read_question(message: bytes, zones: Zones, *, stream: bool = False) -> Question:
    """`stream`: it came over TCP. Raises BadQuestion."""
    if len(message) > SAFE_SIZE:
        raise BadQuestion(f"{len(message)} bytes, expected at most {SAFE_SIZE}")
    try:
        read = dns.message.from_wire(message, ignore_trailing=False)
    except (dns.exception.DNSException, ValueError) as error:
        raise BadQuestion(str(error)) from None
    if read.flags & dns.flags.QR:
        raise BadQuestion("an answer, expected a question")
    return Question(read, _place(read, zones), STREAM_SIZE if stream else _longest_datagram(read))


def _place(message: dns.message.Message, zones: Zones) -> Place:
    if message.opcode() != dns.opcode.QUERY:
        return Place(dns.name.root, dns.rcode.NOTIMP)
    if message.edns > 0:
        return Place(dns.name.root, dns.rcode.BADVERS)  # RFC 6891 section 6.1.3
    if len(message.question) != 1:
        return Place(dns.name.root, dns.rcode.FORMERR)
    asked = message.question[0]
    if asked.rdclass != dns.rdataclass.IN:
        return _NOBODY
    return zones.find(asked.name) or _NOBODY


def _longest_datagram(message: dns.message.Message) -> int:
    return PLAIN_SIZE if message.edns < 0 else max(PLAIN_SIZE, min(SAFE_SIZE, message.payload))


def code_of(answer: bytes) -> str:
    """The response code of an answer of ours, as RFC 6895 calls it, in small letters."""
    return dns.rcode.to_text(dns.message.from_wire(answer).rcode()).lower()


def refuse(question: Question, code: dns.rcode.Rcode | None = None) -> bytes:
    """An answer without records; None: as the question's place has it."""
    answer = _response(question)
    answer.set_rcode(question.place.code if code is None else code)
    if answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        answer.authority.append(_start_of_authority(question.place.zone))
    return _pack(answer, question)


def answer_with(question: Question, addresses: Iterable[Address], ttl: float | None) -> bytes:
    """The member's addresses of the kind that was asked for; `ttl` in seconds, None for as long as is usual."""
    version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(question.message.question[0].rdtype)
    return _answer(question, [str(address) for address in addresses if address.version == version], ttl)


def answer_with_name(question: Question, host: str, domain: dns.name.Name, ttl: float | None) -> bytes:
    """The member's name, where that is asked for (PTR)."""
    asked = question.message.question[0].rdtype == dns.rdatatype.PTR
    return _answer(question, [f"{host}.{domain}"] if asked else [], ttl)


def _answer(question: Question, texts: list[str], ttl: float | None) -> bytes:
    if not texts:
        return refuse(question, dns.rcode.NOERROR)
    answer, asked = _response(question), question.message.question[0]
    seconds = LONGEST_TTL if ttl is None else max(0, min(LONGEST_TTL, int(ttl)))
    answer.answer.append(dns.rrset.from_text_list(asked.name, seconds, asked.rdclass, asked.rdtype, texts))
    return _pack(answer, question)


def _response(question: Question) -> dns.message.Message:
    answer = dns.message.make_response(question.message, our_payload=SAFE_SIZE)
    answer.flags |= dns.flags.AA
    return answer


def _pack(answer: dns.message.Message, question: Question) -> bytes:
    try:
        return answer.to_wire(max_size=question.longest)
    except dns.exception.TooBig:
        answer.answer, answer.authority = [], []
        answer.flags |= dns.flags.TC
        return answer.to_wire()


def _start_of_authority(zone: dns.name.Name) -> dns.rrset.RRset:
    """Says for how long a name that is not there may be taken as not there (RFC 2308)."""
    numbers = f"1 3600 600 86400 {NEGATIVE_TTL}"
    return dns.rrset.from_text(zone, NEGATIVE_TTL, dns.rdataclass.IN, dns.rdatatype.SOA, f"{zone} {zone} {numbers}")
