"""A namespace: the name of one virtual network, and what its members share.

`open`: whoever knows the name is a member. `secret`: members share 128 random bits or a passphrase. `authority`:
members hold a certificate of one authority.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ipop_core.errors import ConfigError
from ipop_core.identity import UNREADABLE_CERTIFICATE

KEY_SIZE: Final = 32
SECRET_SIZE: Final = 16

Kind = Literal["open", "secret", "authority"]


@dataclass(frozen=True)
class Namespace:
    """One virtual network, as a member knows it."""

    name: str
    kind: Kind
    key: bytes = field(repr=False)
    """32 bytes. In a secret namespace nobody outside knows them; otherwise they follow from what is public."""
    authorities: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NamespaceSettings:
    """The configuration's `namespace`; at most one of the last three is given, and none makes it open."""

    name: str
    secret: str | None = field(default=None, repr=False)
    """32 hexadecimal digits."""
    passphrase: str | None = field(default=None, repr=False)
    authority: Path | None = None
    """PEM file with the certificates of the authority."""

    def __post_init__(self) -> None:
        given = [key for key in ("secret", "passphrase", "authority") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ConfigError("namespace", f"has {' and '.join(given)}; give only one of them")


def new_secret() -> str:
    """128 random bits for a secret namespace, as the configuration writes them."""
    return secrets.token_hex(SECRET_SIZE)


def build_namespace(settings: NamespaceSettings) -> Namespace:
    """Derive the namespace's key. A passphrase costs about a tenth of a second and 32 MiB, once.

    Raises ConfigError when the authority's file can't serve.
    """
    name = settings.name
    if settings.secret is not None:
        return Namespace(name, "secret", _derive("secret", name, bytes.fromhex(settings.secret)))
    if settings.passphrase is not None:
        return Namespace(name, "secret", _derive("passphrase", name, _stretch(name, settings.passphrase)))
    if settings.authority is not None:
        authorities = _load_authorities(settings.authority)
        return Namespace(name, "authority", _derive("authority", name, _public_keys(authorities)), authorities)
    return Namespace(name, "open", _derive("open", name, b"ipop open namespace"))


def _derive(kind: str, name: str, material: bytes) -> bytes:
    """HKDF (RFC 5869) with SHA-256; the label keeps the kinds apart."""
    label = f"ipop namespace v1 {kind}".encode()
    return HKDF(algorithm=hashes.SHA256(), length=KEY_SIZE, salt=label, info=name.encode()).derive(material)


def _stretch(name: str, passphrase: str) -> bytes:
    """Scrypt (RFC 7914), so that a guess at the passphrase costs something."""
    salt = hashlib.sha256(b"ipop namespace v1 scrypt " + name.encode()).digest()
    normal = unicodedata.normalize("NFC", passphrase)  # the same keys pressed on another system give the same bytes
    return Scrypt(salt=salt, length=KEY_SIZE, n=2**15, r=8, p=1).derive(normal.encode())


def _public_keys(authorities: Sequence[x509.Certificate]) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    digests = {hashlib.sha256(item.public_key().public_bytes(encoding, form)).digest() for item in authorities}
    return b"".join(sorted(digests))


def _load_authorities(path: Path) -> tuple[x509.Certificate, ...]:
    place = "namespace.authority"
    try:
        authorities = tuple(x509.load_pem_x509_certificates(path.read_bytes()))
        ends = [_is_authority(item) for item in authorities]
    except OSError as error:
        raise ConfigError(place, f"{path} can't be read: {error.strerror}") from None
    except UNREADABLE_CERTIFICATE:
        raise ConfigError(place, f"{path} holds no certificates in PEM") from None
    if not all(ends):
        raise ConfigError(place, f"{path} holds a certificate that is not an authority's (CA:TRUE is missing)")
    return authorities


def _is_authority(certificate: x509.Certificate) -> bool:
    certificate.public_key()
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
