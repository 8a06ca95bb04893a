"""Who is no member of an authority's namespace, each beside a twin that differs in that one thing and is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.namespace import Namespace
from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.tincan.link.protocol.events import ConnectFailed, MemberProven, MemberRefused
from tests.tincan_link.net import Net

from .makers import NOW, Authority, Member, p256, self_signed, with_other_signature

TOWN = Authority()
OTHER = Authority("elsewhere")
NAMESAKE = Authority()
ADDRESS = "192.168.10.20"
DAY = timedelta(days=1)
Make = Callable[[ec.EllipticCurvePrivateKey], x509.Certificate]


class Anything:
    def refusal(self, frame: memoryview) -> str:
        return ""


@dataclass(frozen=True)
class Meeting:
    """An honest member, and somebody with a certificate."""

    net: Net
    member: Member
    other: Member

    @property
    def counters(self) -> dict[str, int]:
        return {name: count for name, count in self.member.machine.counters.items() if name.startswith("refused")}


def meet(
    certificate: x509.Certificate | bytes,
    key: ec.EllipticCurvePrivateKey,
    *,
    member_begins: bool = True,
    namespace: Namespace = TOWN.namespace,
    revocations: tuple[object, ...] = (),
) -> Meeting:
    """Both want to exchange card frames, and the other sends some."""
    net = Net(7)
    own = p256()
    member = Member(net, "10.0.0.1", namespace, TOWN.member(own, "192.168.10.10"), own, revocations)  # type: ignore[arg-type]  # lists
    other = Member(net, "10.0.0.2", TOWN.namespace, certificate, key)
    first, second = (member, other) if member_begins else (other, member)
    first.machine.contact(second.endpoint, None, net.now)
    net.run(1)
    for one, far in ((member, other), (other, member)):
        if far.id in one.machine.sessions:
            one.machine.want_member(far.id, net.now)
    net.run(1)
    member.machine.confirm_source(other.id, Anything(), net.now)
    text = b"let me in"
    other.machine.send_card(member.id, FRAME_HEADER.pack(CARD, 0, 0, len(text)) + text, net.now)
    net.run(4)
    return Meeting(net, member, other)


def accepted(meeting: Meeting) -> bool:
    proven = bool(meeting.member.of(MemberProven))
    assert proven == (meeting.member.card == [(0, 0, b"let me in")])
    return proven


def by(authority: Authority, *addresses: str, **changes: object) -> Make:
    return lambda key: authority.member(key, *(addresses or (ADDRESS,)), **changes)


def leaf_as_authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """A member issues a certificate with its own."""
    member_key = p256()
    member = TOWN.member(member_key, "192.168.10.66", name="mallory")
    evil = Authority()
    evil.certificate, evil.key = member, member_key
    return evil.member(key, ADDRESS)


REFUSED = {
    "self-signed": lambda key: self_signed(key, ADDRESS),
    "unknown-issuer": by(OTHER),
    "bad-signature": by(NAMESAKE),
    "expired": by(TOWN, now=NOW - 30 * DAY, until=NOW - DAY),
    "not-yet-valid": by(TOWN, now=NOW + 3 * DAY),
    "no-address": lambda key: TOWN.member(key, addresses=[]),
    "not-permitted": by(TOWN, "192.168.11.20"),
}


@pytest.mark.parametrize("member_begins", [True, False], ids=["initiator", "responder"])
def test_the_twin_is_accepted(member_begins: bool) -> None:
    key = p256()
    meeting = meet(TOWN.member(key, ADDRESS), key, member_begins=member_begins)
    assert accepted(meeting)
    assert meeting.counters == {}


@pytest.mark.parametrize("member_begins", [True, False], ids=["initiator", "responder"])
@pytest.mark.parametrize("reason", REFUSED)
def test_no_member_for_its_own_reason(reason: str, member_begins: bool) -> None:
    key = p256()
    meeting = meet(REFUSED[reason](key), key, member_begins=member_begins)
    assert not accepted(meeting)
    assert meeting.counters["refused_" + reason.replace("-", "_")] == 1
    [told] = meeting.member.of(MemberRefused)
    assert isinstance(told, MemberRefused)
    assert (told.node, told.reason) == (meeting.other.id, reason)


def test_a_leaf_that_signs_is_no_authority() -> None:
    key = p256()
    meeting = meet(leaf_as_authority(key), key)
    assert not accepted(meeting)
    [told] = meeting.member.of(MemberRefused)
    assert isinstance(told, MemberRefused)
    assert told.reason == "unknown-issuer"
    assert "CN=mallory, which is no authority here" in told.detail


def test_a_leaf_among_the_authorities_signs_nothing() -> None:
    """The authority's file could hold a member's certificate by mistake: it vouches for nobody all the same."""
    member_key, key = p256(), p256()
    mallory = Authority()
    mallory.certificate, mallory.key = TOWN.member(member_key, "192.168.10.66", name="mallory"), member_key
    mistaken = Namespace("town", "authority", bytes(32), (TOWN.certificate, mallory.certificate))
    meeting = meet(mallory.member(key, ADDRESS), key, namespace=mistaken)
    assert not accepted(meeting)
    assert meeting.counters["refused_not_an_authority"] == 1
    assert accepted(meet(TOWN.member(key, ADDRESS), key, namespace=mistaken))


@pytest.mark.parametrize("member_begins", [True, False], ids=["initiator", "responder"])
def test_a_certificate_without_its_key(member_begins: bool) -> None:
    stolen = TOWN.member(p256(), ADDRESS)
    meeting = meet(stolen, p256(), member_begins=member_begins)
    assert not accepted(meeting)
    assert meeting.counters["refused_signature"] >= 1
    assert not meeting.member.machine.sessions


@pytest.mark.parametrize("member_begins", [True, False], ids=["initiator", "responder"])
@pytest.mark.parametrize("altered", [False, True], ids=["itself", "altered signature"])
def test_a_revoked_one(altered: bool, member_begins: bool) -> None:
    authority = Authority()
    key, own = p256(), p256()
    certificate = authority.member(key, ADDRESS)
    twin = authority.member(own, "192.168.10.30")
    shown = with_other_signature(certificate) if altered else certificate.public_bytes(Encoding.DER)
    if altered:
        assert shown != certificate.public_bytes(Encoding.DER)
        x509.load_der_x509_certificate(shown).verify_directly_issued_by(authority.certificate)
    for revoked, is_accepted in ((certificate, False), (twin, True)):
        # The same meeting, and only whom the list names differs.
        lists = (authority.revoke(revoked) if revoked is certificate else Authority.revoke(_copy(authority), revoked),)
        net = Net(7)
        mine = p256()
        member = Member(net, "10.0.0.1", authority.namespace, authority.member(mine, "192.168.10.10"), mine, lists)
        other = Member(net, "10.0.0.2", authority.namespace, shown, key)
        first, second = (member, other) if member_begins else (other, member)
        first.machine.contact(second.endpoint, None, net.now)
        net.run(1)
        assert (other.id in member.machine.sessions) == is_accepted
        assert (member.machine.counters["refused_revoked"] + member.machine.counters["handshake_revoked"] > 0) == (
            not is_accepted
        )
        if member_begins and not is_accepted:
            [failed] = member.of(ConnectFailed)
            assert isinstance(failed, ConnectFailed)
            assert failed.reason == "revoked"


def _copy(authority: Authority) -> Authority:
    """The same authority before it revoked anything."""
    copy = Authority()
    copy.key, copy.certificate, copy.namespace = authority.key, authority.certificate, authority.namespace
    return copy


def test_a_revoked_key_gets_no_other_certificate() -> None:
    authority = Authority()
    key = p256()
    lists = (authority.revoke(authority.member(key, ADDRESS)),)
    net, own = Net(7), p256()
    member = Member(net, "10.0.0.1", authority.namespace, authority.member(own, "192.168.10.10"), own, lists)
    other = Member(net, "10.0.0.2", authority.namespace, authority.member(key, "192.168.10.21"), key)
    member.machine.contact(other.endpoint, None, net.now)
    net.run(1)
    assert not member.machine.sessions
    assert member.machine.counters["handshake_revoked"] == 1


def test_rsa_16384_is_refused_unverified() -> None:
    modulus = (1 << 16383) | 1
    public = rsa.RSAPublicNumbers(65537, modulus).public_key()
    name = x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(TOWN.certificate.subject).public_key(public)
    builder = builder.serial_number(5).not_valid_before(NOW).not_valid_after(NOW + DAY)
    huge = builder.sign(TOWN.key, hashes.SHA256()).public_bytes(Encoding.DER)
    assert len(huge) > 2048
    key = p256()
    meeting = meet(huge, key)
    assert not accepted(meeting)
    assert meeting.counters["refused_certificate"] >= 1
    assert not meeting.member.machine.sessions


def test_a_certificate_that_names_another_node() -> None:
    key = p256()
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(TOWN.certificate.subject)
    builder = builder.public_key(key.public_key()).serial_number(9).not_valid_before(NOW).not_valid_after(NOW + DAY)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("ipop:" + "ab" * 20)])
    made = builder.add_extension(names, critical=False).sign(TOWN.key, hashes.SHA256())
    meeting = meet(made, key)
    assert not accepted(meeting)
    assert meeting.counters["refused_certificate"] >= 1


def test_a_certificate_whose_time_is_over_ends_a_membership_at_the_next_handshake_a_set_clock_does_not() -> None:
    key = p256()
    meeting = meet(TOWN.member(key, ADDRESS), key)
    assert accepted(meeting)
    net, member, other = meeting.net, meeting.member, meeting.other
    object.__setattr__(member.machine._state.node, "unix_time", (NOW + 91 * DAY).timestamp)
    for passed, is_member in ((0, True), (91 * DAY.total_seconds(), False)):
        net.now += passed
        other.machine.contact(member.endpoint, None, net.now)
        net.run(1)
        session = member.machine.sessions[other.id]
        assert session.member is is_member
    assert session.source is None
