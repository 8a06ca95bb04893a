"""Lists of revoked certificates: what is read, and how members come by newer ones."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from ipop_core.authority.peers import read_certificate
from ipop_core.authority.revocation import MAX_DER, BadRevocationList, RevocationList, Revoked, read_revocation_list
from ipop_core.identity import node_of
from ipop_modules.tincan.link.protocol.control import CRL_PIECE, CrlNumber, CrlPiece, CrlRequest
from ipop_modules.tincan.link.protocol.revocation import PIECES_BURST, TRIES, Revocations

from .makers import NOW, Authority, p256, with_other_signature

TOWN = Authority()
KEY = p256()
CERTIFICATE = TOWN.member(KEY, "192.168.10.10")
LIST = TOWN.revoke(CERTIFICATE)
ALICE, BOB, MALLORY = b"a" * 20, b"b" * 20, b"m" * 20


def test_a_list_is_read_as_it_was_made() -> None:
    assert LIST.number == 1
    assert LIST.entries == (Revoked(CERTIFICATE.serial_number, node_of(KEY.public_key()), NOW),)
    assert LIST.authority == node_of(TOWN.key.public_key())


def test_other_tools_see_an_ordinary_list() -> None:
    parsed = x509.load_der_x509_crl(LIST.der)
    assert parsed.get_revoked_certificate_by_serial_number(CERTIFICATE.serial_number) is not None
    assert not [extension for extension in parsed.extensions if extension.critical]
    assert parsed.next_update_utc == TOWN.certificate.not_valid_after_utc


def test_serial_and_key_count_and_the_signature_does_not() -> None:
    known = Revocations([TOWN.certificate], [LIST])
    altered = read_certificate(with_other_signature(CERTIFICATE))
    assert known.revokes(read_certificate(CERTIFICATE.public_bytes(Encoding.DER)))
    assert known.revokes(altered)
    assert known.revokes(read_certificate(TOWN.member(KEY, "192.168.10.11").public_bytes(Encoding.DER)))
    assert not known.revokes(read_certificate(TOWN.member(p256(), "192.168.10.10").public_bytes(Encoding.DER)))


def test_another_tool_s_list_revokes_by_serial() -> None:
    authority = Authority()
    made = authority.member(KEY, "192.168.10.10")
    known = Revocations([authority.certificate], [authority.revoke(made, node=False)])
    assert known.revokes(read_certificate(made.public_bytes(Encoding.DER)))
    assert not known.revokes(read_certificate(authority.member(KEY, "192.168.10.11").public_bytes(Encoding.DER)))


def test_only_the_authority_s_list_counts() -> None:
    namesake = Authority()
    with pytest.raises(BadRevocationList, match="no authority of the namespace signed"):
        read_revocation_list(namesake.revoke(CERTIFICATE).der, [TOWN.certificate])
    with pytest.raises(BadRevocationList, match="no authority of the namespace signed"):
        read_revocation_list(LIST.der, [])


def test_a_list_of_parts_is_refused() -> None:
    builder = x509.CertificateRevocationListBuilder().issuer_name(TOWN.certificate.subject).last_update(NOW)
    builder = builder.next_update(NOW + timedelta(days=1)).add_extension(x509.CRLNumber(5), critical=False)
    part = builder.add_extension(x509.DeltaCRLIndicator(3), critical=True).sign(TOWN.key, hashes.SHA256())
    with pytest.raises(BadRevocationList, match="critical extension"):
        read_revocation_list(part.public_bytes(Encoding.DER), [TOWN.certificate])


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(BadRevocationList):
        read_revocation_list(noise, [TOWN.certificate])


@settings(max_examples=200)
@given(st.integers(0, len(LIST.der) - 1), st.integers(1, 255))
def test_an_altered_list_is_refused_or_the_same(at: int, change: int) -> None:
    altered = bytearray(LIST.der)
    altered[at] ^= change
    try:
        read = read_revocation_list(bytes(altered), [TOWN.certificate])
    except BadRevocationList:
        return
    assert read.entries == LIST.entries


class Pair:
    """Two members that hear each other, until told otherwise."""

    def __init__(self, authority: Authority, alice: list[RevocationList], bob: list[RevocationList]) -> None:
        self.now = 0.0
        self.alice = Revocations([authority.certificate], alice)
        self.bob = Revocations([authority.certificate], bob)
        self.messages = 0
        self.alice.greet(BOB, 0.0)
        self.bob.greet(ALICE, 0.0)

    def run(self, seconds: float, loses: int = 0) -> None:
        """The first `loses` messages are lost."""
        end = self.now + seconds
        while True:
            while self.alice.outbox or self.bob.outbox:
                for sender, name, receiver in ((self.alice, ALICE, self.bob), (self.bob, BOB, self.alice)):
                    sent, sender.outbox[:] = list(sender.outbox), []
                    for _, message in sent:
                        self.messages += 1
                        if self.messages > loses:
                            receiver.received(name, message, self.now)
            wakes = [at for one in (self.alice, self.bob) if (at := one.next_wake()) is not None]
            if not wakes or min(wakes) > end:
                self.now = end
                return
            self.now = max(self.now, min(wakes))
            self.alice.wake(self.now)
            self.bob.wake(self.now)


def numbers(known: Revocations) -> list[int]:
    return [item.number for item in known._lists.values()]


def test_who_knows_less_fetches() -> None:
    pair = Pair(TOWN, [LIST], [])
    pair.run(0)
    assert numbers(pair.bob) == [1]
    assert [item.der for item in pair.bob.learnt] == [LIST.der]
    assert pair.alice.learnt == []


def test_both_fall_silent() -> None:
    pair = Pair(TOWN, [LIST], [LIST])
    pair.run(100)
    assert pair.messages <= 4
    assert pair.alice.next_wake() is None


@pytest.mark.parametrize("loses", range(1, 6))
def test_lost_messages_are_repeated(loses: int) -> None:
    pair = Pair(TOWN, [LIST], [])
    pair.run(20, loses=loses)
    assert numbers(pair.bob) == [1]


def test_a_long_list_comes_in_pieces() -> None:
    authority = Authority()
    entries = [Revoked(number, number.to_bytes(20), NOW) for number in range(1, 800)]
    authority.revoked = entries
    long = authority.revoke()
    assert len(long.der) > TRIES * CRL_PIECE
    pair = Pair(authority, [long], [])
    pair.run(30, loses=4)
    assert [len(item.entries) for item in pair.bob.learnt] == [799]


def test_an_older_list_is_never_taken() -> None:
    authority = Authority()
    old, new = authority.revoke(), authority.revoke(authority.member(KEY, "192.168.10.10"))
    known = Revocations([authority.certificate], [new])
    assert known.learn(old.der, 0.0) == (old, False)
    assert numbers(known) == [2]
    assert known.learn(new.der, 0.0)[1] is False


def test_a_liar_delays_nobody() -> None:
    """Mallory promises the highest number there is and gives rubbish, or nothing; Bob still hears from Alice."""
    for gives in (b"rubbish", None):
        bob = Revocations([TOWN.certificate])
        bob.greet(MALLORY, 0.0)
        bob.greet(ALICE, 0.0)
        bob.received(MALLORY, CrlNumber(LIST.authority, 2**63 - 1, True), 0.0)
        if gives is not None:
            bob.received(MALLORY, CrlPiece(LIST.authority, 2**63 - 1, len(gives), 0, gives), 0.0)
        bob.received(ALICE, CrlNumber(LIST.authority, 1, True), 0.1)
        assert (ALICE, CrlRequest(LIST.authority, 1, 0)) in bob.outbox
        bob.received(ALICE, CrlPiece(LIST.authority, 1, len(LIST.der), 0, LIST.der), 0.2)
        assert numbers(bob) == [1]
        bob.outbox.clear()
        bob.received(MALLORY, CrlNumber(LIST.authority, 2**63 - 2, False), 0.3)
        assert bob.outbox == []


def test_who_never_answers_is_left() -> None:
    bob = Revocations([TOWN.certificate])
    bob.greet(MALLORY, 0.0)
    bob.received(MALLORY, CrlNumber(LIST.authority, 9, True), 0.0)
    while (at := bob.next_wake()) is not None:
        bob.wake(at)
    assert len([message for _, message in bob.outbox if isinstance(message, CrlRequest)]) == TRIES


def test_strangers_and_other_authorities_are_not_heard() -> None:
    bob = Revocations([TOWN.certificate])
    bob.received(ALICE, CrlNumber(LIST.authority, 1, True), 0.0)
    bob.greet(ALICE, 0.0)
    bob.received(ALICE, CrlNumber(b"x" * 20, 1, True), 0.0)
    assert bob.outbox == []


def test_a_member_gets_a_whole_list_at_once_and_then_few_pieces() -> None:
    bob = Revocations([TOWN.certificate], [LIST])
    bob.greet(MALLORY, 0.0)
    bob.outbox.clear()
    for _ in range(1000):
        bob.received(MALLORY, CrlRequest(LIST.authority, LIST.number, 0), 0.5)
    assert len(bob.outbox) == PIECES_BURST >= MAX_DER / CRL_PIECE
    bob.received(MALLORY, CrlRequest(LIST.authority, LIST.number, 0), 0.75)
    assert len(bob.outbox) == PIECES_BURST + 1


def test_no_more_than_a_list_is_gathered() -> None:
    bob = Revocations([TOWN.certificate])
    bob.greet(MALLORY, 0.0)
    bob.received(MALLORY, CrlNumber(LIST.authority, 9, True), 0.0)
    bob.received(MALLORY, CrlPiece(LIST.authority, 9, 2**31 - 1, 0, bytes(CRL_PIECE)), 0.0)
    assert not bob._peers[MALLORY].fetches


def test_news_goes_on_to_the_others() -> None:
    bob = Revocations([TOWN.certificate])
    bob.greet(ALICE, 0.0)
    bob.greet(MALLORY, 0.0)
    bob.received(ALICE, CrlNumber(LIST.authority, 1, False), 0.0)
    bob.outbox.clear()
    bob.received(ALICE, CrlPiece(LIST.authority, 1, len(LIST.der), 0, LIST.der), 0.0)
    assert (MALLORY, CrlNumber(LIST.authority, 1, True)) in bob.outbox
    assert (ALICE, CrlNumber(LIST.authority, 1, False)) in bob.outbox
