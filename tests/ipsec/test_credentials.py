"""What the module takes for its credentials, and what charon is given to trust."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.authority.certificates import make_authority, make_member
from ipop_core.authority.revocation import authority_id, make_revocation_list
from ipop_core.errors import ConfigError
from ipop_core.identity import CERTIFICATE_FILE, Identity, load_or_create
from ipop_core.namespace import Namespace
from ipop_modules.ipsec.anchors import is_permitted, make_anchors
from ipop_modules.ipsec.credentials import read_credentials

NOW = datetime.now(UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
AUTHORITY = make_authority(KEY, "town", [ip_network("192.168.10.0/24")], NOW)
TOWN = Namespace("town", "authority", bytes(32), (AUTHORITY,))
OWN = ip_address("192.168.10.10")


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return load_or_create(tmp_path / "node")


def certify(identity: Identity, address: str, key: ec.EllipticCurvePrivateKey = KEY) -> None:
    certificate = make_member(
        make_authority(key, "town" if key is KEY else "other", [ip_network("192.168.10.0/24")], NOW),
        key,
        name="alice",
        public_key=identity.key.public_key(),
        addresses=[ip_address(address)],
        now=NOW,
        until=NOW + timedelta(days=5),
    )
    (identity.folder / CERTIFICATE_FILE).write_bytes(certificate.public_bytes(Encoding.PEM))


def test_a_certified_node_has_credentials(identity: Identity) -> None:
    certify(identity, "192.168.10.10")
    credentials = read_credentials(identity, TOWN, [OWN])
    assert x509.load_der_x509_certificate(credentials.certificate).public_key() == identity.key.public_key()
    assert credentials.revocations == ()


def test_an_open_namespace_has_no_authority_to_trust(identity: Identity) -> None:
    with pytest.raises(ConfigError, match="the open namespace town has none"):
        read_credentials(identity, Namespace("town", "open", bytes(32)), [OWN])


def test_a_certificate_for_another_address_is_refused_by_its_own_node(identity: Identity) -> None:
    certify(identity, "192.168.10.11")
    with pytest.raises(ConfigError, match=r"is not for the address 192\.168\.10\.10"):
        read_credentials(identity, TOWN, [OWN])


def test_a_certificate_of_another_authority_is_refused_by_its_own_node(identity: Identity) -> None:
    certify(identity, "192.168.10.10", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(ConfigError, match="is not issued by the namespace's authority"):
        read_credentials(identity, TOWN, [OWN])


def test_a_node_without_a_certificate_is_told_to_have_one_issued(identity: Identity) -> None:
    with pytest.raises(ConfigError, match="have it issued"):
        read_credentials(identity, TOWN, [OWN])


def test_the_list_of_revoked_certificates_is_found(identity: Identity) -> None:
    certify(identity, "192.168.10.10")
    path = identity.folder / f"{authority_id(AUTHORITY).hex()}.crl"
    path.write_bytes(make_revocation_list(AUTHORITY, KEY, 7, [], NOW))
    assert [item.number for item in read_credentials(identity, TOWN, [OWN]).revocations] == [7]
    path.write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=r"\.crl: "):
        read_credentials(identity, TOWN, [OWN])


def test_anchors_carry_the_authority_s_name_and_key_and_no_constraints() -> None:
    root, anchor = (x509.load_der_x509_certificate(der) for der in make_anchors([AUTHORITY]))
    root.verify_directly_issued_by(root)
    anchor.verify_directly_issued_by(root)
    assert (anchor.subject, anchor.public_key()) == (AUTHORITY.subject, AUTHORITY.public_key())
    assert anchor.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    with pytest.raises(x509.ExtensionNotFound):
        anchor.extensions.get_extension_for_class(x509.NameConstraints)


def test_only_addresses_that_the_authority_may_give_are_permitted() -> None:
    assert is_permitted(OWN, [AUTHORITY])
    assert not is_permitted(ip_address("192.168.11.10"), [AUTHORITY])
    assert not is_permitted(ip_address("fd00::1"), [AUTHORITY])
