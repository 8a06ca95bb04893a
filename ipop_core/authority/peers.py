"""A peer's certificate: which node it names, and which virtual addresses it claims.

The node id is computed from the public key, so it proves itself once the peer signs with that key; a
certificate that names another node's id is refused, and no other name in it is looked at. The addresses are claims
until `verify_by_authority` has shown that the namespace's authority signed them. No URI in a certificate is followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
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


Fault = Literal[
    "unreadable",
    "too-long",
    "key-type",
    "wrong-id",
    "no-authority",
    "self-signed",
    "unknown-issuer",
    "bad-signature",
    "not-an-authority",
    "not-yet-valid",
    "expired",
    "no-address",
    "not-permitted",
    "revoked",
]


class BadCertificate(ValueError):
    """A certificate that cannot be read, or that does not make its holder a member; `reason` is a code to count by."""

    def __init__(self, reason: Fault, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


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
        raise BadCertificate("too-long", f"certificate of {len(der)} bytes, expected at most {MAX_DER}")
    try:
        return _read(der)
    except BadCertificate:
        raise
    except Exception as error:
        # Hostile DER: `cryptography` documents no closed list of what its lazy parser raises.
        raise BadCertificate("unreadable", f"certificate cannot be read: {error}") from error


def _read(der: bytes) -> PeerCertificate:
    certificate = x509.load_der_x509_certificate(der)
    if not der.endswith(b"\0" + certificate.signature):
        # X.690, section 8.6.2.2: the parser lets a count of unused bits pass that is not 0.
        raise BadCertificate("unreadable", "certificate's signature is not whole bytes")
    public_key = certificate.public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(public_key.curve, ec.SECP256R1):
        raise BadCertificate("key-type", f"certificate has a {type(public_key).__name__}, expected a key on P-256")
    node = node_of(public_key)
    addresses, named = _names(certificate)
    if any(name != f"ipop:{node.hex()}" for name in named):
        raise BadCertificate("wrong-id", f"certificate of node {node.hex()} names {named[0]}")
    self_signed = certificate.issuer == certificate.subject
    if self_signed:
        certificate.verify_directly_issued_by(certificate)
    return PeerCertificate(
        node=node,
        public_key=public_key,
        addresses=addresses,
        serial=certificate.serial_number,
        self_signed=self_signed,
        der=der,
    )


def _names(certificate: x509.Certificate) -> tuple[tuple[IPv4Address | IPv6Address, ...], list[str]]:
    """The virtual addresses, and the node ids as `ipop:<hexadecimal digits>`."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), []
    addresses = names.get_values_for_type(x509.IPAddress)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return (
        tuple(address for address in addresses if isinstance(address, IPv4Address | IPv6Address)),
        [uri for uri in uris if uri.startswith("ipop:")],
    )


def verify_by_authority(
    certificate: PeerCertificate, authorities: Sequence[x509.Certificate], unix_time: float
) -> None:
    """Check that one of the authorities signed this certificate and that it is valid at `unix_time`.

    Name constraints of the authority hold for the addresses, of which there is at least one. Raises BadCertificate.
    """
    if not authorities:
        raise BadCertificate("no-authority", "no authority to verify the certificate by")
    time = datetime.fromtimestamp(unix_time, UTC)
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(list(authorities)))
        .time(time)
        .extension_policies(ca_policy=_CA_POLICY, ee_policy=_NODE_POLICY)
        .build_client_verifier()
    )
    leaf = x509.load_der_x509_certificate(certificate.der)
    try:
        verifier.verify(leaf, [])
    except (verification.VerificationError, ValueError) as error:
        raise _explained(leaf, certificate, authorities, time, str(error)) from error
    if not certificate.addresses:
        raise BadCertificate("no-address", "certificate has no virtual address (subject alternative name)")


def _explained(
    leaf: x509.Certificate, read: PeerCertificate, authorities: Sequence[x509.Certificate], time: datetime, detail: str
) -> BadCertificate:
    """Why the verifier refused: its own text does not tell these apart."""
    issuer = leaf.issuer.rfc4514_string()
    named = [item for item in authorities if item.subject == leaf.issuer]
    signers = [item for item in named if _signed_by(leaf, item)]
    if read.self_signed:
        return BadCertificate("self-signed", "certificate is signed by the node itself, not by the authority")
    if not named:
        return BadCertificate("unknown-issuer", f"certificate was issued by {issuer}, which is no authority here")
    if not signers:
        return BadCertificate("bad-signature", f"certificate names {issuer}, but another key than its own signed it")
    if not any(_may_sign(item) for item in signers):
        return BadCertificate("not-an-authority", f"certificate was issued by {issuer}, which may issue none")
    if time < leaf.not_valid_before_utc:
        return BadCertificate("not-yet-valid", f"certificate is not valid before {leaf.not_valid_before_utc:%Y-%m-%d}")
    if time > leaf.not_valid_after_utc:
        return BadCertificate("expired", f"certificate expired on {leaf.not_valid_after_utc:%Y-%m-%d}")
    return BadCertificate("not-permitted", f"certificate is not what the authority may issue: {detail}")


def _signed_by(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _may_sign(authority: x509.Certificate) -> bool:
    try:
        return authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
