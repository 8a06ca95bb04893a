from __future__ import annotations

import datetime
import unicodedata
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ipop_core.errors import ConfigError
from ipop_core.identity import load_or_create
from ipop_core.namespace import Namespace, NamespaceSettings, build_namespace, new_secret

OPEN_KEY = "01939b5f9f20dcc07b0423c6987087097b48b0d88dc693dc2e59b35e25ff36cf"
SECRET_KEY = "858220bebf791e79ed734251cc34e585ae98dbc82780200ffc8f4fc96ef85b33"
PASSPHRASE_KEY = "868ba98cb2ab0fbfb97cbd774d048905f62ec78c51b68cdd44532a6d1222afa7"
SECRET = "00112233445566778899aabbccddeeff"


def made(name: str = "n", **given: str) -> Namespace:
    return build_namespace(NamespaceSettings(name=name, **given))  # type: ignore[arg-type]  # no authority among them


def authority(tmp_path: Path, file: str, *names: str, ca: bool = True) -> Path:
    now = datetime.datetime.now(datetime.UTC)
    text = b""
    for common_name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        text = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + text
    (tmp_path / file).write_bytes(text)
    return tmp_path / file


def test_every_kind_and_name_has_a_key_of_its_own(tmp_path: Path) -> None:
    ca = authority(tmp_path, "ca.pem", "one")
    namespaces = [
        made(),
        made("m"),
        made(secret=SECRET),
        made("m", secret=SECRET),
        made(secret=new_secret()),
        made(passphrase=SECRET),
        made("m", passphrase=SECRET),
        build_namespace(NamespaceSettings(name="n", authority=ca)),
        build_namespace(NamespaceSettings(name="n", authority=authority(tmp_path, "other.pem", "one"))),
    ]
    assert {len(namespace.key) for namespace in namespaces} == {32}
    assert len({namespace.key for namespace in namespaces}) == len(namespaces)
    assert [namespace.kind for namespace in namespaces] == ["open"] * 2 + ["secret"] * 5 + ["authority"] * 2


def test_keys_are_the_same_everywhere(tmp_path: Path) -> None:
    """Written down: another version that derives other keys would split every namespace."""
    assert made("tutorial").key.hex() == OPEN_KEY
    assert made("tutorial", secret=SECRET).key.hex() == SECRET_KEY
    assert made("tutorial", passphrase="Ünder der Brücke").key.hex() == PASSPHRASE_KEY
    decomposed = unicodedata.normalize("NFD", "Ünder der Brücke")
    assert made("tutorial", passphrase=decomposed).key.hex() == PASSPHRASE_KEY
    one = authority(tmp_path, "one.pem", "a", "b")
    blocks = one.read_text().split("-----END CERTIFICATE-----\n")
    turned = tmp_path / "turned.pem"
    turned.write_text("-----END CERTIFICATE-----\n".join([blocks[1], blocks[0], ""]))
    keys = {build_namespace(NamespaceSettings(name="n", authority=path)).key for path in (one, turned)}
    assert len(keys) == 1


def test_secrets_are_not_in_what_is_printed() -> None:
    for shown in (repr(made(secret=SECRET)), repr(NamespaceSettings(name="n", secret=SECRET))):
        assert SECRET not in shown
        assert "key" not in shown


def test_faults_of_the_authority_file(tmp_path: Path) -> None:
    leaf = authority(tmp_path, "leaf.pem", "x", ca=False)
    own = load_or_create(tmp_path / "node")
    own.certificate([])
    for path, fault in [
        (tmp_path / "none.pem", "can't be read: No such file or directory"),
        (own.folder / "identity.key", "holds no certificates in PEM"),
        (leaf, r"holds a certificate that is not an authority's \(CA:TRUE is missing\)"),
        (own.folder / "identity.crt", "holds a certificate that is not an authority's"),
    ]:
        with pytest.raises(ConfigError, match=f"^namespace.authority: {path} {fault}"):
            build_namespace(NamespaceSettings(name="n", authority=path))
