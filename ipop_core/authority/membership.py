"""The node's side: a request whose key never leaves the node, and what the authority hands back.

What is handed back is one PEM file: the node's certificate and the authority's (and the node's key, where the
authority's owner made that). Installed, they lie in the node's state folder as `identity.crt` and `authority.pem`.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ipop_core.authority.certificates import addresses_of, common_name, p256_key
from ipop_core.errors import ConfigError
from ipop_core.files import private_folder, write_private
from ipop_core.identity import CERTIFICATE_FILE, KEY_FILE, UNREADABLE_CERTIFICATE, Address, Identity, load_or_create

AUTHORITY_FILE: Final = "authority.pem"


@dataclass(frozen=True)
class Bundle:
    """What an authority hands to a node."""

    certificate: x509.Certificate
    authority: x509.Certificate
    key: ec.EllipticCurvePrivateKey | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        return addresses_of(self.certificate)

    @property
    def namespace(self) -> str:
        return common_name(self.authority)

    def pem(self) -> bytes:
        parts = [self.certificate.public_bytes(Encoding.PEM), self.authority.public_bytes(Encoding.PEM)]
        if self.key is not None:
            parts.insert(0, _private_pem(self.key))
        return b"".join(parts)


def make_request(identity: Identity, name: str) -> bytes:
    """A PKCS10 request (RFC 2986) in PEM, signed with the node's key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(identity.key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM)


def read_request(path: Path) -> ec.EllipticCurvePublicKey:
    """The key that a request is for; its signature shows that the asker holds it. Raises ConfigError."""
    try:
        request = x509.load_pem_x509_csr(path.read_bytes())
        public_key = p256_key(request)
        is_signed = public_key is not None and request.is_signature_valid
    except OSError as error:
        raise ConfigError(str(path), f"can't be read: {error.strerror}") from None
    except UNREADABLE_CERTIFICATE:
        raise ConfigError(str(path), "is not a certificate request in PEM; make one with: ipop ca request") from None
    if public_key is None:
        raise ConfigError(str(path), "asks for a key that is not on P-256; make one with: ipop ca request")
    if not is_signed:
        raise ConfigError(str(path), "is not signed with the key that it asks for")
    return public_key


def read_bundle(path: Path) -> Bundle:
    """Read what an authority handed over, and check that it fits together. Raises ConfigError."""
    try:
        pem = path.read_bytes()
        certificates = x509.load_pem_x509_certificates(pem)
        authorities = [item for item in certificates if _is_authority(item)]
        members = [item for item in certificates if not _is_authority(item)]
        key = serialization.load_pem_private_key(pem, None) if b"PRIVATE KEY" in pem else None
    except OSError as error:
        raise ConfigError(str(path), f"can't be read: {error.strerror}") from None
    except (*UNREADABLE_CERTIFICATE, TypeError):
        raise ConfigError(str(path), "is not what `ipop ca issue` writes (certificates in PEM)") from None
    if len(members) != 1 or len(authorities) != 1:
        fault = f"holds {len(members)} nodes' and {len(authorities)} authorities' certificates, expected one of each"
        raise ConfigError(str(path), fault)
    if key is not None and not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(str(path), "holds a key that is not on P-256")
    bundle = Bundle(members[0], authorities[0], key)
    _check(path, bundle)
    return bundle


def install(bundle: Bundle, path: Path, state: Path) -> Identity:
    """Put a bundle, read from `path`, into a node's state folder. Raises ConfigError when it does not fit the node."""
    private_folder(state)
    _check_authority(bundle, state / AUTHORITY_FILE)
    if bundle.key is not None:
        write_private(state / KEY_FILE, _private_pem(bundle.key), replace=False)
    identity = load_or_create(state)
    if bundle.certificate.public_key() != identity.key.public_key():
        fault = f"is for another key than {state / KEY_FILE}; ask for one with: ipop ca request"
        if bundle.key is not None:
            fault = f"brings a key, but {state / KEY_FILE} is there; remove that first to take the new one"
        raise ConfigError(str(path), fault)
    write_private(state / AUTHORITY_FILE, bundle.authority.public_bytes(Encoding.PEM))
    write_private(state / CERTIFICATE_FILE, bundle.certificate.public_bytes(Encoding.PEM))
    return identity


def _check(path: Path, bundle: Bundle) -> None:
    certificate, until = bundle.certificate, bundle.certificate.not_valid_after_utc
    if p256_key(certificate) is None:
        raise ConfigError(str(path), "holds a certificate whose key is not on P-256")
    try:
        certificate.verify_directly_issued_by(bundle.authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise ConfigError(str(path), "the node's certificate was not signed by the authority beside it") from None
    if until < datetime.datetime.now(datetime.UTC):
        raise ConfigError(str(path), f"expired on {until:%Y-%m-%d}; ask your authority for a new one")


def _check_authority(bundle: Bundle, path: Path) -> None:
    """A node that trusts one authority is not made to trust another one by the way."""
    try:
        trusted = x509.load_pem_x509_certificates(path.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        trusted = []
    if bundle.authority not in trusted:
        raise ConfigError(str(path), "this node trusts another authority; remove that file first to trust the new one")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
