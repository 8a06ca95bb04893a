"""The list of certificates that an authority took back: an X.509 CRL (RFC 5280, section 5); its number only grows.

A certificate is revoked by its serial number and by its public key: each entry carries the id of the node whose key it
was, in a non-critical extension of our own. So neither an altered signature nor another certificate brings a revoked
key back. The newest list that is known counts until a newer one comes, whatever its dates.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.identity import NODE_SIZE, node_of

MAX_DER: Final = 1024 * 1024
"""Bytes; an entry takes about 100."""
MAX_NUMBER: Final = 2**63 - 1
NODE_EXTENSION: Final = x509.ObjectIdentifier("2.25.127965441458196164586767216394157209438")
"""In an entry: the node id of the revoked key, an OCTET STRING of 20 bytes. The arc is a UUID's (ITU-T X.667)."""
_OCTET_STRING: Final = bytes((4, NODE_SIZE))


class BadRevocationList(ValueError):
    """Not a list that one of the authorities signed."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """One certificate that was taken back."""

    serial: int
    node: bytes | None
    """The id of its key, 20 bytes; None in a list that another tool made."""
    date: datetime.datetime


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list whose signature was checked. `authority` is the 20-byte id of the key that signed it."""

    authority: bytes
    number: int
    entries: tuple[Revoked, ...]
    der: bytes = field(repr=False)
    serials: frozenset[int] = field(repr=False)
    nodes: frozenset[bytes] = field(repr=False)

    def revokes(self, serial: int, node: bytes) -> bool:
        """Whether a certificate of this authority with that serial number and node id is revoked."""
        return serial in self.serials or node in self.nodes


def make_revocation_list(
    authority: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    number: int,
    entries: Iterable[Revoked],
    now: datetime.datetime,
) -> bytes:
    """DER. It stays current as long as the authority: there is no other moment at which to make a new one."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(now)
        .next_update(authority.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    for entry in entries:
        revoked = x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(entry.date)
        if entry.node is not None:
            node = x509.UnrecognizedExtension(NODE_EXTENSION, _OCTET_STRING + entry.node)
            revoked = revoked.add_extension(node, critical=False)
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def read_revocation_list(der: bytes, authorities: Sequence[x509.Certificate]) -> RevocationList:
    """Read a list and check that one of the authorities signed it. Raises BadRevocationList."""
    if len(der) > MAX_DER:
        raise BadRevocationList(f"list of {len(der)} bytes, expected at most {MAX_DER}")
    try:
        return _read(der, authorities)
    except BadRevocationList:
        raise
    except Exception as error:
        # Hostile DER: `cryptography` documents no closed list of what its lazy parser raises.
        raise BadRevocationList(f"list cannot be read: {error}") from error


def authority_id(authority: x509.Certificate) -> bytes:
    """20 bytes, as a node's id. Raises BadRevocationList for a key that is not on an elliptic curve."""
    key = authority.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise BadRevocationList(f"the authority has a {type(key).__name__}, expected an elliptic curve's")
    return node_of(key)


def _read(der: bytes, authorities: Sequence[x509.Certificate]) -> RevocationList:
    parsed = x509.load_der_x509_crl(der)
    signer = next((item for item in authorities if _signed(parsed, item)), None)
    if signer is None:
        raise BadRevocationList("no authority of the namespace signed this list")
    number = parsed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    if not 0 <= number <= MAX_NUMBER:
        raise BadRevocationList(f"number {number}, expected 0 to {MAX_NUMBER}")
    unknown = [item.oid.dotted_string for item in parsed.extensions if item.critical]
    if unknown:
        raise BadRevocationList(f"critical extension {unknown[0]}: only whole lists are understood")
    entries = tuple(Revoked(item.serial_number, _node(item), item.revocation_date_utc) for item in parsed)
    return RevocationList(
        authority=authority_id(signer),
        number=number,
        entries=entries,
        der=der,
        serials=frozenset(entry.serial for entry in entries),
        nodes=frozenset(entry.node for entry in entries if entry.node is not None),
    )


def _signed(parsed: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    return (
        isinstance(key, ec.EllipticCurvePublicKey)
        and parsed.issuer == authority.subject
        and parsed.is_signature_valid(key)
    )


def _node(entry: x509.RevokedCertificate) -> bytes | None:
    for extension in entry.extensions:
        value = extension.value
        if extension.oid == NODE_EXTENSION and isinstance(value, x509.UnrecognizedExtension):
            if len(value.value) != len(_OCTET_STRING) + NODE_SIZE or not value.value.startswith(_OCTET_STRING):
                raise BadRevocationList(f"entry {entry.serial_number:x}: its node id is not 20 bytes")
            return value.value[len(_OCTET_STRING) :]
    return None
