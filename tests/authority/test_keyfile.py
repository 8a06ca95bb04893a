"""An authority's private key on disk is the one of the certificate beside it, or it is not taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ipop_core.authority.keyfile import read_key, write_key
from ipop_core.errors import ConfigError
from ipop_core.files import write_private
from tests.authority.makers import p256

NOT_ITS_KEY = "is not the key of the certificate beside it"


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_a_key_comes_back_as_it_was_written(tmp_path: Path, passphrase: str | None) -> None:
    key, path = p256(), tmp_path / "ca.key"
    write_key(path, key, passphrase)
    assert read_key(path, key.public_key(), passphrase).private_numbers() == key.private_numbers()


def test_another_authority_s_key_is_refused(tmp_path: Path) -> None:
    key, path = p256(), tmp_path / "ca.key"
    write_key(path, key, None)
    with pytest.raises(ConfigError, match=NOT_ITS_KEY):
        read_key(path, p256().public_key(), None)


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()])
def test_a_key_of_another_kind_is_refused(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
) -> None:
    path = tmp_path / "ca.key"
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigError, match=NOT_ITS_KEY):
        read_key(path, p256().public_key(), None)
