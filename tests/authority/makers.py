"""An authority, members of its namespace, and certificates with one thing wrong."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ipop_core.authority.certificates import make_authority, make_member
from ipop_core.authority.revocation import RevocationList, Revoked, make_revocation_list, read_revocation_list
from ipop_core.identity import node_of
from ipop_core.namespace import Namespace
from ipop_modules.tincan.link.protocol.handshake import Credentials
from tests.tincan_link.net import Net, Peer

NOW = datetime.now(UTC).replace(microsecond=0)
NETWORKS = (ip_network("192.168.10.0/24"), ip_network("fd00::/64"))
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


class Authority:
    """One that keeps nothing on disk."""

    def __init__(self, name: str = "town", networks: Sequence[IPv4Network | IPv6Network] = NETWORKS) -> None:
        self.key = p256()
        self.certificate = make_authority(self.key, name, networks, NOW - timedelta(days=400))
        self.namespace = Namespace(name, "authority", bytes(32), (self.certificate,))
        self.revoked: list[Revoked] = []
        self.number = 0

    def member(self, key: ec.EllipticCurvePrivateKey, *addresses: str, **changes: Any) -> x509.Certificate:
        """As `ipop ca issue` makes it, or with something else in its place."""
        made: dict[str, Any] = {
            "name": "member",
            "public_key": key.public_key(),
            "addresses": [ip_address(address) for address in addresses],
            "now": NOW,
            "until": NOW + timedelta(days=90),
        }
        return make_member(self.certificate, changes.pop("signed_with", self.key), **{**made, **changes})

    def below(self, other: Authority) -> x509.Certificate:
        """A certificate of this one that makes the other an authority, too."""
        own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = x509.CertificateBuilder(self.certificate.subject, other.certificate.subject, other.key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=90))
        usage = other.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        return (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(other.key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def revoke(self, *certificates: x509.Certificate, node: bool = True) -> RevocationList:
        """The next list; with `node` False an entry has the serial number only, as other tools write it."""
        for certificate in certificates:
            key = certificate.public_key()
            assert isinstance(key, ec.EllipticCurvePublicKey)
            self.revoked.append(Revoked(certificate.serial_number, node_of(key) if node else None, NOW))
        self.number += 1
        der = make_revocation_list(self.certificate, self.key, self.number, self.revoked, NOW)
        return read_revocation_list(der, [self.certificate])


class Member(Peer):
    """A machine with a certificate of its own choice."""

    def __init__(
        self,
        net: Net,
        host: str,
        namespace: Namespace | None,
        certificate: x509.Certificate | bytes,
        key: ec.EllipticCurvePrivateKey,
        revocations: Sequence[RevocationList] = (),
    ) -> None:
        super().__init__(net, host, (), namespace)
        der = certificate if isinstance(certificate, bytes) else certificate.public_bytes(Encoding.DER)
        self.key = key
        shown = credentials(key, der)
        self._node = dataclasses.replace(self._node, node=shown.node, credentials=shown, revocations=tuple(revocations))
        self.id = shown.node
        self.restart()
        net.peers[self.endpoint] = self

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self._node.credentials.certificate)


def credentials(key: ec.EllipticCurvePrivateKey, der: bytes) -> Credentials:
    """Those of a node that lies: the certificate need not be of this key, nor of any use."""
    honest = x509.CertificateBuilder().subject_name(_name("x")).issuer_name(_name("x")).public_key(key.public_key())
    made = honest.serial_number(1).not_valid_before(NOW).not_valid_after(NOW).sign(key, hashes.SHA256())
    shown = Credentials(key, made.public_bytes(Encoding.DER), X25519PrivateKey.from_private_bytes(os.urandom(32)))
    object.__setattr__(shown, "certificate", der)
    return shown


def self_signed(key: ec.EllipticCurvePrivateKey, *addresses: str) -> x509.Certificate:
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address)) for address in addresses])
    builder = x509.CertificateBuilder().subject_name(_name("self")).issuer_name(_name("self"))
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return builder.add_extension(names, critical=False).sign(key, hashes.SHA256())


def with_other_signature(certificate: x509.Certificate) -> bytes:
    """The same certificate with its ECDSA signature (r, s) as (r, n - s): valid as well, and another fingerprint."""
    r, s = decode_dss_signature(certificate.signature)
    signature = encode_dss_signature(r, P256_ORDER - s)
    body = certificate.tbs_certificate_bytes + bytes.fromhex("300a06082a8648ce3d040302") + _tlv(3, b"\0" + signature)
    return _tlv(0x30, body)


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    encoded = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(encoded))) + encoded + content


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
