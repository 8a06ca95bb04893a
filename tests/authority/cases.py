"""Who is refused, and why: one table for tincan's handshake (test_refusals.py) and for IKE (uml/test_certificates.py).

Every case makes what somebody shows twice: with one thing wrong, and without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.authority.certificates import addresses_of
from ipop_core.authority.revocation import RevocationList
from ipop_core.identity import BACKDATED

from .makers import NOW, Authority, p256, self_signed, with_other_signature

ADDRESS = "192.168.10.20"
"""What the one who shows a certificate speaks from."""
OTHER = "192.168.10.30"
DAY = timedelta(days=1)

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Shown:
    """A certificate in DER (empty: none), what it is signed with, and what else is sent and known."""

    certificate: bytes
    key: Key | rsa.RSAPrivateKey
    extra: tuple[x509.Certificate, ...] = ()
    """Sent beside it, where the protocol can."""
    revocations: RevocationList | None = None
    """What the other side knows."""


@dataclass(frozen=True)
class Case:
    """How to make it, by an authority that the other side trusts: with the fault, or without."""

    show: Callable[[Authority, bool], Shown]
    handshake: str
    """The reason that tincan gives and counts."""
    ike: str
    """What charon says, as a regular expression (the dot matches a line's end too)."""


def _member(authority: Authority, *addresses: str, **changes: Any) -> Shown:
    key = p256()
    return _shown(authority.member(key, *addresses, **changes), key)


def _shown(certificate: x509.Certificate, key: Key | rsa.RSAPrivateKey, *extra: x509.Certificate) -> Shown:
    return Shown(certificate.public_bytes(Encoding.DER), key, extra)


def _no_certificate(town: Authority, wrong: bool) -> Shown:
    shown = _member(town, ADDRESS)
    return Shown(b"", shown.key) if wrong else shown


def _its_own_certificate(town: Authority, wrong: bool) -> Shown:
    key = p256()
    return _shown(self_signed(key, ADDRESS) if wrong else town.member(key, ADDRESS), key)


def _another_authority(town: Authority, wrong: bool) -> Shown:
    return _member(Authority("elsewhere") if wrong else town, ADDRESS)


def _an_authority_of_the_same_name(town: Authority, wrong: bool) -> Shown:
    return _member(Authority() if wrong else town, ADDRESS)


def _expired(town: Authority, wrong: bool) -> Shown:
    return _member(town, ADDRESS, now=NOW - 30 * DAY, until=NOW - DAY if wrong else NOW + DAY)


def _not_yet_valid(town: Authority, wrong: bool) -> Shown:
    return _member(town, ADDRESS, now=NOW + 3 * DAY if wrong else NOW)


def _no_address(town: Authority, wrong: bool) -> Shown:
    return _member(town, *(() if wrong else (ADDRESS,)))


def _another_nodes_address(town: Authority, wrong: bool) -> Shown:
    return _member(town, OTHER if wrong else ADDRESS)


def _a_leaf_as_authority(town: Authority, wrong: bool) -> Shown:
    """Mallory, a member, issues a certificate with her own, and shows both."""
    mallory_key, key = p256(), p256()
    mallory = town.member(mallory_key, "192.168.10.66", name="mallory")
    leaf = Authority()
    leaf.certificate, leaf.key = mallory, mallory_key
    return _shown((leaf if wrong else town).member(key, ADDRESS), key, mallory)


def _an_authority_below(town: Authority, wrong: bool) -> Shown:
    """The authority has signed another, whose certificate is shown beside the member's; its path length is 0."""
    key, below = p256(), Authority("below")
    below.certificate = town.below(below)
    return _shown((below if wrong else town).member(key, ADDRESS), key, below.certificate)


def _without_its_key(town: Authority, wrong: bool) -> Shown:
    key = p256()
    return _shown(town.member(key, ADDRESS), p256() if wrong else key)


def _revoked(town: Authority, wrong: bool) -> Shown:
    return _revoked_as(town, wrong, lambda certificate: certificate.public_bytes(Encoding.DER))


def _revoked_and_altered(town: Authority, wrong: bool) -> Shown:
    return _revoked_as(town, wrong, with_other_signature)


def _revoked_as(town: Authority, wrong: bool, shown: Callable[[x509.Certificate], bytes]) -> Shown:
    key = p256()
    certificate, other = town.member(key, ADDRESS), town.member(p256(), OTHER)
    return Shown(shown(certificate), key, revocations=town.revoke(certificate if wrong else other))


def _rsa_16384(town: Authority, wrong: bool) -> Shown:
    if not wrong:
        return _member(town, ADDRESS)
    key = rsa_16384_key()
    twin = town.member(p256(), ADDRESS)
    builder = x509.CertificateBuilder(twin.issuer, twin.subject, key.public_key(), twin.serial_number)
    builder = builder.not_valid_before(twin.not_valid_before_utc).not_valid_after(twin.not_valid_after_utc)
    names = x509.SubjectAlternativeName([x509.IPAddress(address) for address in addresses_of(twin)])
    return _shown(builder.add_extension(names, critical=False).sign(town.key, hashes.SHA256()), key)


def rsa_16384_key() -> rsa.RSAPrivateKey:
    """Always the same: looking for primes of 8192 bits takes a minute, so it is written down how far on the next is."""
    p, q = (_prime(seed, offset) for seed, offset in ((b"p", 16920), (b"q", 990)))
    e, phi = 65537, (p - 1) * (q - 1)
    d = pow(e, -1, phi)
    public = rsa.RSAPublicNumbers(e, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def _prime(seed: bytes, offset: int) -> int:
    start = int.from_bytes(hashlib.shake_256(seed).digest(1024), "big") | 3 << 8190 | 1
    return start + offset


def _date(moment: datetime) -> str:
    return f"{moment.astimezone():%b %d %H:%M:%S %Y}"


_NOBODY = rf"no trusted ECDSA public key found for '{ADDRESS}'"
_NO_ISSUER = r'no issuer certificate found for "CN=member".*issuer is '
_NOT_FOR_IT = rf"received end entity cert(?!.*using certificate).*{_NOBODY}"
_EXPIRED = rf"subject certificate invalid \(valid from .* to {_date(NOW - DAY)}\)"
_NOT_YET_VALID = rf"subject certificate invalid \(valid from {_date(NOW + 3 * DAY - BACKDATED)} to "

CASES = {
    "no certificate": Case(_no_certificate, "unreadable", rf"^(?!.*received end entity cert).*{_NOBODY}"),
    "its own certificate": Case(
        _its_own_certificate, "self-signed", r'self-signed certificate "CN=self" is not trusted'
    ),
    "another authority": Case(_another_authority, "unknown-issuer", _NO_ISSUER + '"O=IPOP authority, CN=elsewhere"'),
    "an authority of the same name": Case(
        _an_authority_of_the_same_name, "bad-signature", _NO_ISSUER + '"O=IPOP authority, CN=town"'
    ),
    "expired": Case(_expired, "expired", _EXPIRED),
    "not yet valid": Case(_not_yet_valid, "not-yet-valid", _NOT_YET_VALID),
    "no address": Case(_no_address, "no-address", _NOT_FOR_IT),
    "another node's address": Case(_another_nodes_address, "source-address", _NOT_FOR_IT),
    "a leaf as authority": Case(_a_leaf_as_authority, "unknown-issuer", _NO_ISSUER + '"CN=mallory"'),
    "an authority below": Case(_an_authority_below, "unknown-issuer", r"path length of 1 violates constraint of 0"),
    "without its key": Case(_without_its_key, "signature", r"signature validation failed"),
    "revoked": Case(_revoked, "revoked", r"certificate was revoked"),
    "revoked, its signature altered": Case(_revoked_and_altered, "revoked", r"certificate was revoked"),
    "RSA-16384": Case(_rsa_16384, "key-type", r"RSA-16384 signatures not acceptable"),
}
