"""What this node shows and what it trusts: its certificate and key, its authorities and what they revoked.

In the node's state folder lie `identity.key`, `identity.crt` and, once an authority has revoked somebody, its list in
DER, `AUTHORITY.crl`, named after the authority's key. Members pass newer lists on, and the role link keeps them there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ipop_core.authority.certificates import addresses_of
from ipop_core.authority.revocation import BadRevocationList, RevocationList, authority_id, read_revocation_list
from ipop_core.errors import ConfigError
from ipop_core.identity import CERTIFICATE_FILE, Address, Identity
from ipop_core.namespace import Namespace


@dataclass(frozen=True)
class Credentials:
    """The certificate in DER, the key as PKCS8 in DER."""

    certificate: bytes
    key: bytes
    authorities: tuple[x509.Certificate, ...]
    revocations: tuple[RevocationList, ...]
    """The newest list of each authority that has one."""

    @property
    def key_id(self) -> str:
        """What charon calls the key: SHA-1 of its public half (RFC 5280, section 4.2.1.2, method 1), in hexadecimal."""
        public = x509.load_der_x509_certificate(self.certificate).public_key()
        return x509.SubjectKeyIdentifier.from_public_key(public).digest.hex()


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
    carried = addresses_of(certificate)
    for address in wanted:
        if address not in carried:
            raise ConfigError(place, f"is not for the address {address} of this node; have it issued for it")
    return Credentials(
        certificate.public_bytes(serialization.Encoding.DER),
        identity.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        namespace.authorities,
        tuple(_read_lists(identity.folder, namespace.authorities)),
    )


def _read_lists(folder: Path, authorities: Sequence[x509.Certificate]) -> Iterator[RevocationList]:
    for authority in authorities:
        path = folder / f"{authority_id(authority).hex()}.crl"
        try:
            yield read_revocation_list(path.read_bytes(), authorities)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(str(path), f"can't be read: {error.strerror}") from None
        except BadRevocationList as error:
            raise ConfigError(str(path), str(error)) from None
