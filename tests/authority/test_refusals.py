"""Who is no member of an authority's namespace, each beside a twin that differs in that one thing and is one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.namespace import Namespace
from ipop_modules.tincan.card.protocol.ethernet import mac_of
from ipop_modules.tincan.card.protocol.source import SourceCheck
from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.tincan.link.protocol.events import ConnectFailed, MemberRefused
from tests.tincan_card.packets import UDP, ethernet, ip4, udp
from tests.tincan_link.net import Net

from .cases import ADDRESS, CASES, DAY, Case, Shown
from .makers import NOW, Authority, Member, p256, with_other_signature

TOWN = Authority()


@dataclass(frozen=True)
class Meeting:
    """An honest member, and somebody with a certificate."""

    net: Net
    member: Member
    other: Member

    @property
    def accepted(self) -> bool:
        return bool(self.member.card)

    @property
    def reasons(self) -> set[str]:
        """Why something of the other's was refused, as counted."""
        causes = ("refused_", "handshake_revoked", "drop_source_")
        counted = {name for name in self.member.machine.counters if name.startswith(causes)} - {"refused_member"}
        return {re.sub("^(refused|handshake|drop)_", "", name).replace("_", "-") for name in counted}


def meet(shown: Shown, *, member_begins: bool = True, namespace: Namespace = TOWN.namespace) -> Meeting:
    """Both want to exchange card frames, and the other sends one from ADDRESS."""
    net = Net(7)
    own = p256()
    key = shown.key if isinstance(shown.key, ec.EllipticCurvePrivateKey) else p256()
    lists = () if shown.revocations is None else (shown.revocations,)
    member = Member(net, "10.0.0.1", namespace, TOWN.member(own, "192.168.10.10"), own, lists)
    other = Member(net, "10.0.0.2", TOWN.namespace, shown.certificate, key)
    first, second = (member, other) if member_begins else (other, member)
    first.machine.contact(second.endpoint, None, net.now)
    net.run(1)
    for one, far in ((member, other), (other, member)):
        if far.id in one.machine.sessions:
            one.machine.want_member(far.id, net.now)
    net.run(1)
    session = member.machine.sessions.get(other.id)
    if session is not None:
        # What the directory says is not asked: whoever is a member claims every address that its certificate has.
        owned = [address.packed for address in session.vouched or ()]
        check = SourceCheck(mac_of(other.id), mac_of(member.id), owned)
        member.machine.confirm_source(other.id, check, net.now)
    packet = ip4(udp(b"let me in"), UDP, source=ip_address(ADDRESS).packed)
    frame = ethernet(packet, source=mac_of(other.id), destination=mac_of(member.id))
    other.machine.send_card(member.id, FRAME_HEADER.pack(CARD, 0, 0, len(frame)) + frame, net.now)
    net.run(4)
    return Meeting(net, member, other)


def shown(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Shown:
    return Shown(certificate.public_bytes(Encoding.DER), key)


@pytest.mark.parametrize("member_begins", [True, False], ids=["initiator", "responder"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_refused_for_its_own_reason_and_its_twin_is_accepted(case: Case, member_begins: bool) -> None:
    twin = meet(case.show(TOWN, False), member_begins=member_begins)
    assert (twin.accepted, twin.reasons) == (True, set())
    meeting = meet(case.show(TOWN, True), member_begins=member_begins)
    assert (meeting.accepted, meeting.reasons) == (False, {case.handshake})


@pytest.mark.parametrize("member_begins", [True, False], ids=["initiator", "responder"])
def test_an_address_that_the_authority_may_not_give(member_begins: bool) -> None:
    key = p256()
    meeting = meet(shown(TOWN.member(key, "192.168.11.20"), key), member_begins=member_begins)
    assert (meeting.accepted, meeting.reasons) == (False, {"not-permitted"})
    [told] = meeting.member.of(MemberRefused)
    assert isinstance(told, MemberRefused)
    assert (told.node, told.reason) == (meeting.other.id, "not-permitted")


def test_who_begins_with_a_revoked_one_is_told() -> None:
    meeting = meet(CASES["revoked"].show(TOWN, True))
    [failed] = meeting.member.of(ConnectFailed)
    assert isinstance(failed, ConnectFailed)
    assert failed.reason == "revoked"


def test_the_altered_signature_is_a_valid_one() -> None:
    certificate = TOWN.member(p256(), ADDRESS)
    altered = with_other_signature(certificate)
    assert altered != certificate.public_bytes(Encoding.DER)
    x509.load_der_x509_certificate(altered).verify_directly_issued_by(TOWN.certificate)


def test_a_leaf_among_the_authorities_signs_nothing() -> None:
    """The authority's file could hold a member's certificate by mistake: it vouches for nobody all the same."""
    member_key, key = p256(), p256()
    mallory = Authority()
    mallory.certificate, mallory.key = TOWN.member(member_key, "192.168.10.66", name="mallory"), member_key
    mistaken = Namespace("town", "authority", bytes(32), (TOWN.certificate, mallory.certificate))
    meeting = meet(shown(mallory.member(key, ADDRESS), key), namespace=mistaken)
    assert (meeting.accepted, meeting.reasons) == (False, {"not-an-authority"})
    assert meet(shown(TOWN.member(key, ADDRESS), key), namespace=mistaken).accepted


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


def test_a_certificate_that_names_another_node() -> None:
    key = p256()
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(TOWN.certificate.subject)
    builder = builder.public_key(key.public_key()).serial_number(9).not_valid_before(NOW).not_valid_after(NOW + DAY)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("ipop:" + "ab" * 20)])
    made = builder.add_extension(names, critical=False).sign(TOWN.key, hashes.SHA256())
    meeting = meet(shown(made, key))
    assert (meeting.accepted, meeting.reasons) == (False, {"wrong-id"})


def test_a_certificate_whose_time_is_over_ends_a_membership_at_the_next_handshake_a_set_clock_does_not() -> None:
    key = p256()
    meeting = meet(shown(TOWN.member(key, ADDRESS), key))
    assert meeting.accepted
    net, member, other = meeting.net, meeting.member, meeting.other
    object.__setattr__(member.machine._state.node, "unix_time", (NOW + 91 * DAY).timestamp)
    for passed, is_member in ((0, True), (91 * DAY.total_seconds(), False)):
        net.now += passed
        other.machine.contact(member.endpoint, None, net.now)
        net.run(1)
        session = member.machine.sessions[other.id]
        assert session.member is is_member
    assert session.source is None
