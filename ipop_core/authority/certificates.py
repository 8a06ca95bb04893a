"""The certificates of an authority: its own, and those that make a node a member (X.509, RFC 5280; P-256 throughout).

A member's certificate names exactly the node's virtual addresses and its id (`ipop:<40 hexadecimal digits>`), for
tincan's handshake and for IKE alike. The authority's own permits addresses of its networks only, and no authority
below it.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ipop_core.identity import BACKDATED, Address, node_of

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

AUTHORITY_LIFETIME: Final = datetime.timedelta(days=3650)
MEMBER_LIFETIME: Final = datetime.timedelta(days=90)
MAX_MEMBER_DER: Final = 960
"""The longest certificate that a handshake carries."""
_ORGANIZATION: Final = "IPOP authority"
"""Part of an authority's name, so that no member's name equals it."""


def make_authority(
    key: ec.EllipticCurvePrivateKey, namespace: str, networks: Sequence[Network], now: datetime.datetime
) -> x509.Certificate:
    """The self-signed certificate of a namespace's authority."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, namespace),
        ]
    )
    permitted = x509.NameConstraints([x509.IPAddress(network) for network in networks], None)
    return (
        _begin(name, name, key.public_key(), now, now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(permitted, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def make_member(
    authority: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    *,
    name: str,
    public_key: ec.EllipticCurvePublicKey,
    addresses: Sequence[Address],
    now: datetime.datetime,
    until: datetime.datetime,
) -> x509.Certificate:
    """A member's certificate, signed with the authority's key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"ipop:{node_of(public_key).hex()}")]
    names += [x509.IPAddress(address) for address in addresses]
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.IPSEC_IKE]
    authority_key = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _begin(subject, authority.subject, public_key, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_key), critical=False)
        .sign(key, hashes.SHA256())
    )


def namespace_of(authority: x509.Certificate) -> str:
    """The namespace that an authority was made for."""
    return common_name(authority)


def networks_of(authority: x509.Certificate) -> tuple[Network, ...]:
    """The networks whose addresses an authority may give."""
    constraints = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    values = [name.value for name in constraints.permitted_subtrees or ()]
    return tuple(value for value in values if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network))


def addresses_of(certificate: x509.Certificate) -> tuple[Address, ...]:
    """The virtual addresses of a member, in the certificate's order."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    found = names.get_values_for_type(x509.IPAddress)
    return tuple(item for item in found if isinstance(item, ipaddress.IPv4Address | ipaddress.IPv6Address))


def common_name(certificate: x509.Certificate) -> str:
    """The common name of a certificate's subject; empty when it has none."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def p256_key(certificate: x509.Certificate | x509.CertificateSigningRequest) -> ec.EllipticCurvePublicKey | None:
    """The public key; None when it is not on P-256."""
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    return None


def _begin(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(until)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
