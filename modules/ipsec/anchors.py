"""The namespace's authorities in certificates that charon can read.

An authority's certificate carries name constraints for addresses (RFC 5280, section 4.2.1.10), and strongSwan 5.9
refuses to read those. A trust anchor is no more than a name and a key (section 6.1.1), so charon is given the name,
key and path length of each authority in a certificate that this node makes for itself, below a root of its own, as
charon wants every chain to end in one. The constraints are kept by having connections only for addresses that they
permit.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ipop_core.authority.certificates import networks_of
from ipop_core.identity import Address

_ROOT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "what this IPOP node trusts")])
_COPIED = (x509.BasicConstraints, x509.KeyUsage, x509.SubjectKeyIdentifier)


def make_anchors(authorities: Sequence[x509.Certificate]) -> tuple[bytes, ...]:
    """DER: a root, whose key is forgotten at once, and a certificate for each authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    begins = min(item.not_valid_before_utc for item in authorities)
    ends = max(item.not_valid_after_utc for item in authorities)
    root = (
        _begin(_ROOT, key.public_key(), begins, ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    made = [root, *(_anchor(item) for item in authorities)]
    return tuple(item.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER) for item in made)


def is_permitted(address: Address, authorities: Sequence[x509.Certificate]) -> bool:
    """Whether some authority may give this address away; one without constraints may give any."""
    return any(_may_give(item, address) for item in authorities)


def _may_give(authority: x509.Certificate, address: Address) -> bool:
    try:
        networks = networks_of(authority)
    except x509.ExtensionNotFound:
        return True
    return any(address in network for network in networks)


def _anchor(authority: x509.Certificate) -> x509.CertificateBuilder:
    key = authority.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    builder = _begin(authority.subject, key, authority.not_valid_before_utc, authority.not_valid_after_utc)
    for extension in authority.extensions:
        if isinstance(extension.value, _COPIED):
            builder = builder.add_extension(extension.value, extension.critical)
    return builder


def _begin(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, begins: datetime.datetime, ends: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_ROOT)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
