"""An authority's private key on disk: PKCS8 PEM, open or under a passphrase.

PKCS8 as `cryptography` writes it stretches a passphrase too little (2048 rounds of PBKDF2), so what encrypts the file
is scrypt's output (RFC 7914; N = SCRYPT_COST, r = 8, p = 1) in hexadecimal digits, salted with the public key's hash.
"""

from __future__ import annotations

import hashlib
import stat
import unicodedata
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ipop_core.errors import ConfigError
from ipop_core.files import write_private

MIN_PASSPHRASE: Final = 8
SCRYPT_COST: Final = 2**17


def write_key(path: Path, key: ec.EllipticCurvePrivateKey, passphrase: str | None) -> None:
    """Write a new key file for its owner only. Raises ConfigError; an existing file stays."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        if len(passphrase) < MIN_PASSPHRASE:
            fault = f"has {len(passphrase)} characters, expected at least {MIN_PASSPHRASE}"
            raise ConfigError("passphrase", fault)
        encryption = serialization.BestAvailableEncryption(_stretch(passphrase, key.public_key()))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    if not write_private(path, pem, replace=False):
        raise ConfigError(str(path), "exists already, and is not replaced")


def is_encrypted(path: Path) -> bool:
    """Whether a passphrase is needed. Raises ConfigError when the file can't be read, or not by its owner alone."""
    return b"ENCRYPTED PRIVATE KEY" in _content(path)


def read_key(path: Path, public_key: ec.EllipticCurvePublicKey, passphrase: str | None) -> ec.EllipticCurvePrivateKey:
    """The key that belongs to `public_key`. Raises ConfigError."""
    pem = _content(path)
    password = None if passphrase is None or not is_encrypted(path) else _stretch(passphrase, public_key)
    try:
        key = serialization.load_pem_private_key(pem, password=password)
    except TypeError:
        raise ConfigError(str(path), "is under a passphrase; give it with --passphrase-file") from None
    except (ValueError, UnsupportedAlgorithm):
        fault = "is not a private key in PEM" if password is None else "does not open with this passphrase"
        raise ConfigError(str(path), fault) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != public_key:
        raise ConfigError(str(path), "is not the key of the certificate beside it")
    return key


def _content(path: Path) -> bytes:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), f"can't be read: {error.strerror}") from None
    if mode & 0o077:
        raise ConfigError(str(path), f"others may read this private key (mode {mode:04o}); run: chmod 600 {path}")
    return content


def _stretch(passphrase: str, public_key: ec.EllipticCurvePublicKey) -> bytes:
    der = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    salt = hashlib.sha256(b"ipop authority v1 " + der).digest()
    normal = unicodedata.normalize("NFC", passphrase)  # the same keys pressed on another system give the same bytes
    return Scrypt(salt=salt, length=32, n=SCRYPT_COST, r=8, p=1).derive(normal.encode()).hex().encode()
