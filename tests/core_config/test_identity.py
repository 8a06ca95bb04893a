from __future__ import annotations

import datetime
import hashlib
import stat
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from ipop_core.errors import ConfigError
from ipop_core.identity import Identity, load_or_create, node_of

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
ALICE = ip_address("192.168.10.10")
BOB = ip_address("fd00::20")


def pem(key: Key, encryption: serialization.KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption or serialization.NoEncryption()
    )


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return load_or_create(tmp_path / "node")


def test_it_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "node"
    identity = load_or_create(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "identity.key").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["identity.key"]
    assert load_or_create(folder).node == identity.node
    assert identity.node == node_of(identity.key.public_key()) == hashlib.sha256(identity.public_key_der).digest()[:20]
    assert identity.hex == identity.node.hex()
    identity.key.public_key().verify(identity.sign(b"x"), b"x", ec.ECDSA(hashes.SHA256()))


def test_its_own_certificate(identity: Identity) -> None:
    certificate = identity.certificate([ip_interface("192.168.10.10/24"), BOB])
    now = datetime.datetime.now(datetime.UTC)
    assert certificate.subject.rfc4514_string() == f"CN={identity.hex}"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ALICE, BOB]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"ipop:{identity.hex}"]
    assert certificate.not_valid_before_utc < now - datetime.timedelta(hours=23)
    assert certificate.not_valid_after_utc > now + datetime.timedelta(days=3649)
    certificate.verify_directly_issued_by(certificate)


def test_it_is_made_again_only_when_the_addresses_change(identity: Identity) -> None:
    first = identity.certificate([ALICE, BOB])
    assert identity.certificate([BOB, ALICE]) == first
    assert load_or_create(identity.folder).certificate([ALICE, BOB]) == first
    assert identity.certificate([ALICE]) != first


def issue(identity: Identity, days: int) -> x509.Certificate:
    """A certificate of an authority for this node, put into its folder."""
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.hex)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "our authority")]))
        .public_key(identity.key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    (identity.folder / "identity.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate


def test_the_authoritys_certificate_is_kept(identity: Identity) -> None:
    issued = issue(identity, days=5)
    assert identity.certificate([ALICE]) == issued


def test_faults_of_the_certificate_name_the_file(identity: Identity, tmp_path: Path) -> None:
    path = identity.folder / "identity.crt"
    issue(identity, days=-1)
    with pytest.raises(ConfigError, match=f"{path}: expired on .*; ask your authority for a new one"):
        identity.certificate([ALICE])
    path.write_text("nonsense")
    with pytest.raises(ConfigError, match=f"{path}: is not a certificate in PEM; remove it"):
        identity.certificate([ALICE])
    other = load_or_create(tmp_path / "other").certificate([ALICE])
    path.write_bytes(other.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(ConfigError, match=f"{path}: was not issued for the key in identity.key beside it"):
        identity.certificate([ALICE])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is not an unencrypted private key in PEM; restore it from a backup, or remove it"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is not an unencrypted private key in PEM"),
        (
            pem(ec.generate_private_key(ec.SECP256R1()), serialization.BestAvailableEncryption(b"x")),
            "is not an unencrypted private key in PEM",
        ),
        (pem(ec.generate_private_key(ec.SECP384R1())), r"is a key on the curve secp384r1, not on P-256 \(secp256r1\)"),
        (pem(rsa.generate_private_key(65537, 2048)), "is not a P-256 key"),
    ],
    ids=["empty", "no key", "encrypted", "another curve", "rsa"],
)
def test_faults_of_the_key_name_the_file(identity: Identity, content: bytes, fault: str) -> None:
    path = identity.folder / "identity.key"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{path}: {fault}"):
        load_or_create(identity.folder)


def test_a_key_that_others_may_read_is_refused(identity: Identity) -> None:
    path = identity.folder / "identity.key"
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=rf"others may read this private key \(mode 0640\); run: chmod 600 {path}"):
        load_or_create(identity.folder)


def test_a_folder_that_others_may_write_to_is_refused(identity: Identity) -> None:
    identity.folder.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write to it; run: chmod 700"):
        load_or_create(identity.folder)


def test_a_folder_that_is_a_link_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(ConfigError, match=str(tmp_path / name)):
            load_or_create(tmp_path / name)
