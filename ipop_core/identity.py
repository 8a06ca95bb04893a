"""Who a node is: a P-256 key, the id that follows from it, and the certificate that it shows.

In the node's state folder lie `identity.key` (PKCS8 PEM, mode 0600) and `identity.crt` (PEM): signed by the node
itself, or put there by the authority of its namespace.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ipop_core.errors import ConfigError
from ipop_core.files import private_folder, write_private

NODE_SIZE: Final = 20
KEY_FILE: Final = "identity.key"
CERTIFICATE_FILE: Final = "identity.crt"
LIFETIME: Final = datetime.timedelta(days=3650)
BACKDATED: Final = datetime.timedelta(days=1)
"""Clocks of peers may be behind."""
RENEWED_BEFORE: Final = datetime.timedelta(days=30)
UNREADABLE_CERTIFICATE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def node_of(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """The 20 bytes of a node's id: the front of SHA-256 over its public key (SubjectPublicKeyInfo, DER)."""
    return hashlib.sha256(_public_der(public_key)).digest()[:NODE_SIZE]


@dataclass(frozen=True)
class Identity:
    """This node's key and the folder that holds its certificate."""

    key: ec.EllipticCurvePrivateKey
    folder: Path

    @cached_property
    def node(self) -> bytes:
        """This node's id, 20 bytes."""
        return node_of(self.key.public_key())

    @property
    def hex(self) -> str:
        return self.node.hex()

    @cached_property
    def public_key_der(self) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        return _public_der(self.key.public_key())

    def sign(self, data: bytes) -> bytes:
        """ECDSA over P-256 and SHA-256, DER."""
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))

    def secret(self, purpose: str, size: int) -> bytes:
        """Bytes that only this node can know, the same at every start, and of no use for another purpose (RFC 5869)."""
        number = self.key.private_numbers().private_value.to_bytes(32)
        return HKDF(hashes.SHA256(), size, salt=None, info=f"ipop {purpose}".encode()).derive(number)

    def certificate(self, addresses: Iterable[Address]) -> x509.Certificate:
        """The authority's certificate when the folder has one, otherwise one of our own for these virtual addresses.

        Our own is stored, and made again when the addresses change or its time runs out. An interface (address with a
        prefix) counts as its address. Raises ConfigError for a certificate that can't serve.
        """
        wanted = {ipaddress.ip_interface(address).ip for address in addresses}
        now = datetime.datetime.now(datetime.UTC)
        path = self.folder / CERTIFICATE_FILE
        stored = self._stored_certificate(path)
        if stored is not None and stored.issuer != stored.subject:
            if stored.not_valid_after_utc < now:
                fault = f"expired on {stored.not_valid_after_utc:%Y-%m-%d}; ask your authority for a new one"
                raise ConfigError(str(path), fault)
            return stored
        if stored is not None and _addresses_of(stored) == wanted and stored.not_valid_after_utc > now + RENEWED_BEFORE:
            return stored
        made = self._self_signed(wanted, now)
        write_private(path, made.public_bytes(serialization.Encoding.PEM))
        return made

    def _stored_certificate(self, path: Path) -> x509.Certificate | None:
        mend = "remove it and a self-signed one is made, or have it issued again"
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            public_key = certificate.public_key()
            _addresses_of(certificate)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(str(path), f"can't be read: {error.strerror}") from None
        except UNREADABLE_CERTIFICATE:
            raise ConfigError(str(path), f"is not a certificate in PEM; {mend}") from None
        if not isinstance(public_key, ec.EllipticCurvePublicKey) or _public_der(public_key) != self.public_key_der:
            raise ConfigError(str(path), f"was not issued for the key in {KEY_FILE} beside it; {mend}")
        return certificate

    def _self_signed(self, addresses: set[Address], now: datetime.datetime) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.hex)])
        public_key = self.key.public_key()
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"ipop:{self.hex}")]
        names += [x509.IPAddress(address) for address in sorted(addresses, key=lambda item: (item.version, int(item)))]
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_signs_only(), critical=True)
            .add_extension(usages, critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key), critical=False)
            .sign(self.key, hashes.SHA256())
        )


def load_or_create(folder: Path) -> Identity:
    """The identity in `folder`; on the first start the folder (mode 0700) and a new key in it.

    Raises ConfigError, which names the file and how to mend it.
    """
    private_folder(folder)
    path = folder / KEY_FILE
    if not path.exists():
        # Of two that start at once, one makes the key and both use it.
        write_private(path, _private_pem(ec.generate_private_key(ec.SECP256R1())), replace=False)
    return Identity(key=_load_key(path), folder=folder)


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    mend = "restore it from a backup, or remove it and the node gets a new id"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), f"can't be read: {error.strerror}") from None
    if mode & 0o077:
        raise ConfigError(str(path), f"others may read this private key (mode {mode:04o}); run: chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(str(path), f"is not an unencrypted private key in PEM; {mend}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(str(path), f"is not a P-256 key; {mend}")
    if not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(str(path), f"is a key on the curve {key.curve.name}, not on P-256 (secp256r1); {mend}")
    return key


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_der(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _addresses_of(certificate: x509.Certificate) -> set[Address]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    found = names.get_values_for_type(x509.IPAddress)
    return {item for item in found if isinstance(item, ipaddress.IPv4Address | ipaddress.IPv6Address)}


def _signs_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
