"""A peer's certificate: which node it names, and which virtual addresses it claims.

The node id is computed from the public key, so it proves itself once the peer signs with that key (handshake.py);
whatever else the certificate says about the node's name is not looked at. The addresses are claims until
`verify_by_authority` has shown that the namespace's authority signed them. No URI in a certificate is ever followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification

from ipop_core.identity import node_of

MAX_DER: Final = 4096

_CA_POLICY: Final = verification.ExtensionPolicy.webpki_defaults_ca()
# The certificate serves IPsec too, so its key usages are not those of a web client only, and what other tools than ours
# issue may lack the authority's key id, or mark the addresses as critical.
_NODE_POLICY: Final = (
    verification.ExtensionPolicy.webpki_defaults_ee()
    .may_be_present(x509.ExtendedKeyUsage, verification.Criticality.AGNOSTIC, None)
    .may_be_present(x509.AuthorityKeyIdentifier, verification.Criticality.AGNOSTIC, None)
    .may_be_present(x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None)
)


class BadCertificate(ValueError):
    """A certificate that cannot be read, or that is not what it claims to be."""


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """Revocation goes by `serial` and `public_key`: a P-256 signature can be altered into a second valid one."""

    node: bytes
    public_key: ec.EllipticCurvePublicKey
    addresses: tuple[IPv4Address | IPv6Address, ...]
    serial: int
    self_signed: bool
    der: bytes


def read_certificate(der: bytes) -> PeerCertificate:
    """Read a peer's certificate. Raises BadCertificate.

    The signature of a self-signed one is checked, its dates are not: whoever made it could have written any. Of a
    certificate that an authority signed only the contents are read; `verify_by_authority` does the rest.
    """
    if len(der) > MAX_DER:
        raise BadCertificate(f"certificate of {len(der)} bytes, expected at most {MAX_DER}")
    try:
        return _read(der)
    except BadCertificate:
        raise
    except Exception as error:
        # Hostile DER: `cryptography` documents no closed list of what its lazy parser raises.
        raise BadCertificate(f"certificate cannot be read: {error}") from error


def _read(der: bytes) -> PeerCertificate:
    certificate = x509.load_der_x509_certificate(der)
    public_key = certificate.public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(public_key.curve, ec.SECP256R1):
        raise BadCertificate(f"certificate has a {type(public_key).__name__}, expected a key on P-256")
    self_signed = certificate.issuer == certificate.subject
    if self_signed:
        certificate.verify_directly_issued_by(certificate)
    return PeerCertificate(
        node=node_of(public_key),
        public_key=public_key,
        addresses=_addresses(certificate),
        serial=certificate.serial_number,
        self_signed=self_signed,
        der=der,
    )


def _addresses(certificate: x509.Certificate) -> tuple[IPv4Address | IPv6Address, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return tuple(address for address in addresses if isinstance(address, IPv4Address | IPv6Address))


def verify_by_authority(
    certificate: PeerCertificate, authorities: Sequence[x509.Certificate], unix_time: float
) -> None:
    """Check that one of the authorities signed this certificate and that it is valid at `unix_time`.

    Name constraints of the authority hold for the addresses. Raises BadCertificate.
    """
    if not authorities:
        raise BadCertificate("no authority to verify the certificate by")
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(list(authorities)))
        .time(datetime.fromtimestamp(unix_time, UTC))
        .extension_policies(ca_policy=_CA_POLICY, ee_policy=_NODE_POLICY)
        .build_client_verifier()
    )
    try:
        verifier.verify(x509.load_der_x509_certificate(certificate.der), [])
    except (verification.VerificationError, ValueError) as error:
        raise BadCertificate(f"certificate is not valid under the authority: {error}") from error
