"""What this node shows and what it trusts: its certificate and key, the authority's certificates and revocations.

In the node's state folder lie `identity.key`, `identity.crt` and, once the authority has revoked somebody,
`authority.crl` (PEM or DER).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ipop_core.errors import ConfigError
from ipop_core.identity import CERTIFICATE_FILE, Address, Identity
from ipop_core.namespace import Namespace

REVOCATIONS_FILE: Final = "authority.crl"


@dataclass(frozen=True)
class Credentials:
    """All in DER; the key as PKCS8."""

    certificate: bytes
    key: bytes
    authorities: tuple[bytes, ...]
    revocations: bytes | None
    revocations_number: int | None
    """The CRL's number (RFC 5280, section 5.2.3); None without a CRL, or in one that has no number."""


def read_credentials(identity: Identity, namespace: Namespace | None, addresses: Iterable[Address]) -> Credentials:
    """Raises ConfigError for what can't serve IPsec."""
    if namespace is None or not namespace.authorities:
        kind = "a bare node" if namespace is None else f"the {namespace.kind} namespace {namespace.name}"
        fault = f"IPsec needs the certificates of an authority, and {kind} has none; see namespace.authority"
        raise ConfigError("modules.ipsec", fault)
    wanted = list(addresses)
    certificate = identity.certificate(wanted)
    place = str(identity.folder / CERTIFICATE_FILE)
    if certificate.issuer not in [authority.subject for authority in namespace.authorities]:
        raise ConfigError(place, "is not issued by the namespace's authority; have it issued")
    carried = _addresses_of(certificate)
    for address in wanted:
        if address not in carried:
            raise ConfigError(place, f"is not for the address {address} of this node; have it issued for it")
    crl = _read_revocations(identity.folder / REVOCATIONS_FILE)
    return Credentials(
        certificate.public_bytes(serialization.Encoding.DER),
        identity.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        tuple(authority.public_bytes(serialization.Encoding.DER) for authority in namespace.authorities),
        None if crl is None else crl.public_bytes(serialization.Encoding.DER),
        None if crl is None else _number_of(crl),
    )


def _read_revocations(path: Path) -> x509.CertificateRevocationList | None:
    try:
        data = path.read_bytes()
        pem = data.lstrip().startswith(b"-----")
        return x509.load_pem_x509_crl(data) if pem else x509.load_der_x509_crl(data)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(str(path), f"can't be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(str(path), "is no certificate revocation list in PEM or DER") from None


def _number_of(crl: x509.CertificateRevocationList) -> int | None:
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, ValueError):
        return None


def _addresses_of(certificate: x509.Certificate) -> list[object]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(names.get_values_for_type(x509.IPAddress))
