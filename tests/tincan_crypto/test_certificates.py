from __future__ import annotations

import datetime
import hashlib
import ipaddress
from datetime import UTC

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from ipop_core.authority.peers import BadCertificate, read_certificate, verify_by_authority

from .makers import FROM, NOW, UNTIL, addresses, authority, certificate, der, p256

KEY = p256()
PLAIN = der(certificate(KEY, addresses("192.168.10.10", "fd00::10")))
CA_KEY = p256()
CA = authority(CA_KEY)
ISSUER = ("authority", CA_KEY)
ISSUED = der(certificate(KEY, addresses("192.168.10.10"), issuer=ISSUER))


def test_a_self_signed_certificate_gives_node_and_addresses() -> None:
    spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    read = read_certificate(PLAIN)
    assert read.node == hashlib.sha256(spki).digest()[:20]
    assert read.addresses == (ipaddress.ip_address("192.168.10.10"), ipaddress.ip_address("fd00::10"))
    assert read.self_signed
    assert read.der == PLAIN
    assert read.serial == x509.load_der_x509_certificate(PLAIN).serial_number


def test_no_addresses_is_fine() -> None:
    assert read_certificate(der(certificate(KEY))).addresses == ()


def test_the_dates_of_a_self_signed_certificate_prove_nothing() -> None:
    past = datetime.datetime(2021, 1, 1, tzinfo=UTC)
    assert read_certificate(der(certificate(KEY, until=past))).self_signed


def test_a_self_signed_certificate_signed_by_another_key_is_refused() -> None:
    forged = certificate(KEY, addresses("192.168.10.10"), issuer=("node", p256()), name="node")
    with pytest.raises(BadCertificate, match="cannot be read"):
        read_certificate(der(forged))


def test_keys_that_are_not_on_p256_are_refused() -> None:
    other_curve = certificate(ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(BadCertificate, match="P-256"):
        read_certificate(der(other_curve))
    edwards = ed25519.Ed25519PrivateKey.generate()
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(edwards.public_key())
        .serial_number(1)
        .not_valid_before(FROM)
        .not_valid_after(UNTIL)
        .sign(edwards, None)
    )
    with pytest.raises(BadCertificate, match="P-256"):
        read_certificate(der(made))


def test_a_long_certificate_is_refused_unread() -> None:
    with pytest.raises(BadCertificate, match="5000 bytes, expected at most 4096"):
        read_certificate(bytes(5000))


def test_the_authority_vouches_for_the_addresses() -> None:
    node = read_certificate(der(certificate(KEY, addresses("192.168.10.10"), issuer=ISSUER)))
    assert not node.self_signed
    verify_by_authority(node, [authority(p256(), name="another"), CA], NOW)


def usage(oid: x509.ObjectIdentifier) -> tuple[x509.ExtensionType, bool]:
    return x509.ExtendedKeyUsage([oid]), False


@pytest.mark.parametrize(
    "extensions",
    [
        (addresses("192.168.10.10"), usage(ExtendedKeyUsageOID.IPSEC_IKE)),
        (addresses("192.168.10.10"), usage(ExtendedKeyUsageOID.SERVER_AUTH)),
        (addresses("192.168.10.10", critical=True),),
    ],
    ids=["ipsec", "server", "critical-addresses"],
)
def test_certificates_made_for_ipsec_serve(extensions: tuple[tuple[x509.ExtensionType, bool], ...]) -> None:
    verify_by_authority(read_certificate(der(certificate(KEY, *extensions, issuer=ISSUER))), [CA], NOW)


def refused(made: x509.Certificate, authorities: list[x509.Certificate], unix_time: float = NOW) -> None:
    read = read_certificate(der(made))
    with pytest.raises(BadCertificate):
        verify_by_authority(read, authorities, unix_time)


def test_what_the_authority_did_not_sign_is_refused() -> None:
    good = certificate(KEY, addresses("192.168.10.10"), issuer=ISSUER)
    verify_by_authority(read_certificate(der(good)), [CA], NOW)
    refused(good, [authority(p256())])
    refused(good, [])
    refused(certificate(KEY, addresses("192.168.10.10")), [CA])
    refused(certificate(KEY, addresses("192.168.10.10"), issuer=("authority", p256())), [CA])


def test_dates_of_an_authority_s_certificate_hold() -> None:
    past = datetime.datetime(2021, 1, 1, tzinfo=UTC)
    expired = certificate(KEY, addresses("192.168.10.10"), issuer=ISSUER, until=past)
    verify_by_authority(read_certificate(der(expired)), [CA], past.timestamp() - 1)
    refused(expired, [CA])
    refused(certificate(KEY, addresses("192.168.10.10"), issuer=ISSUER), [CA], FROM.timestamp() - 1)


def test_name_constraints_of_the_authority_hold() -> None:
    permitted = x509.NameConstraints([x509.IPAddress(ipaddress.ip_network("192.168.10.0/24"))], None)
    constrained = authority(CA_KEY, (permitted, True))
    inside = certificate(KEY, addresses("192.168.10.10"), issuer=ISSUER)
    verify_by_authority(read_certificate(der(inside)), [constrained], NOW)
    refused(certificate(KEY, addresses("192.168.11.10"), issuer=ISSUER), [constrained])


def test_a_member_s_certificate_signs_no_other() -> None:
    member_key = p256()
    member = certificate(member_key, addresses("192.168.10.10"), issuer=ISSUER, name="member")
    verify_by_authority(read_certificate(der(member)), [CA], NOW)
    grandchild = certificate(KEY, addresses("192.168.10.11"), issuer=("member", member_key))
    refused(grandchild, [CA])
    refused(grandchild, [member])


def test_duplicate_and_broken_extensions_are_refused() -> None:
    # A SAN whose value is no DER sequence: the parser fails only when the extensions are read.
    broken = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\xff\xff")
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(FROM)
        .not_valid_after(UNTIL)
        .add_extension(broken, critical=False)
        .sign(KEY, hashes.SHA256())
    )
    with pytest.raises(BadCertificate, match="cannot be read"):
        read_certificate(der(made))


@given(st.binary(max_size=500))
def test_random_bytes_raise_only_bad_certificate(data: bytes) -> None:
    with pytest.raises(BadCertificate):
        read_certificate(data)


@settings(max_examples=300)
@given(st.data())
def test_altered_certificates_are_refused(data: st.DataObject) -> None:
    altered = bytearray(ISSUED)
    for _ in range(data.draw(st.integers(1, 3))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    try:
        verify_by_authority(read_certificate(bytes(altered)), [CA], NOW)
    except BadCertificate:
        return
    assert altered == ISSUED


def test_the_count_of_unused_bits_before_a_signature_is_zero() -> None:
    signature = x509.load_der_x509_certificate(ISSUED).signature
    altered = bytearray(ISSUED)
    altered[-len(signature) - 1] = 1
    altered[-1] &= 0xFE
    with pytest.raises(BadCertificate) as error:
        read_certificate(bytes(altered))
    assert error.value.reason == "unreadable"
