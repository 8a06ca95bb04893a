"""Who is refused by IKE, and why; each beside a valid twin that differs in that one thing and is accepted."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ipop_core.authority.revocation import authority_id
from ipop_core.identity import Identity
from ipop_modules.ipsec.anchors import make_anchors
from tests.uml.town import CARD, TestAuthority, Town, eventually

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow]

OWN, OTHER = "192.168.10.20", "192.168.10.30"


class Stranger:
    """A charon in Bob's place, whose certificate the test makes."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.new_key()
        folder = town.lab.folder / "stranger"
        folder.mkdir(mode=0o700)
        command = [sys.executable, "-m", "tests.uml.stranger", str(folder), CARD]
        pipe = subprocess.PIPE
        self.process = town.bob.namespace.popen(command, stdin=pipe, stdout=pipe)
        assert self._answer() == {"ready": True}

    def new_key(self) -> None:
        """Each attempt has a key of its own: charon would find an older certificate of the same key and show that."""
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.identity = Identity(self.key, self.town.lab.folder)

    def tries(self, certificate: x509.Certificate, **altered: Any) -> dict[str, Any]:
        key = altered.get("key", self.key).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        wish = {
            "certificate": _text(altered.get("der", certificate.public_bytes(Encoding.DER))),
            "key": _text(key),
            "authorities": [_text(item) for item in make_anchors([self.town.authority.certificate])],
            "extra": [_text(item.public_bytes(Encoding.DER)) for item in altered.get("extra", ())],
            "own": OWN,
            "id": altered.get("id", OWN),
            "peer": self.town.alice.address,
        }
        assert self.process.stdin
        self.process.stdin.write(json.dumps(wish).encode() + b"\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def stranger(town: Town) -> Iterator[Stranger]:
    """Bob's own module is off meanwhile."""
    town.bob.stop()
    town.bob.run("ip", "xfrm", "policy", "flush")
    stranger = Stranger(town)
    yield stranger
    stranger.process.kill()
    stranger.process.wait()
    town.bob.start()


def wrong_authority(stranger: Stranger) -> dict[str, Any]:
    return stranger.tries(TestAuthority("other").issue(stranger.identity, OWN))


def authority_of_the_same_name(stranger: Stranger) -> dict[str, Any]:
    return stranger.tries(TestAuthority().issue(stranger.identity, OWN))


def expired(stranger: Stranger) -> dict[str, Any]:
    authority = stranger.town.authority
    return stranger.tries(authority.issue(stranger.identity, OWN, ends=authority.now - timedelta(hours=1)))


def not_yet_valid(stranger: Stranger) -> dict[str, Any]:
    authority = stranger.town.authority
    return stranger.tries(authority.issue(stranger.identity, OWN, begins=authority.now + timedelta(days=3)))


def no_address(stranger: Stranger) -> dict[str, Any]:
    return stranger.tries(stranger.town.authority.issue(stranger.identity))


def another_nodes_address(stranger: Stranger) -> dict[str, Any]:
    return stranger.tries(stranger.town.authority.issue(stranger.identity, OTHER))


def another_nodes_address_under_its_own_name(stranger: Stranger) -> dict[str, Any]:
    return stranger.tries(stranger.town.authority.issue(stranger.identity, OTHER), id=OTHER)


def a_leaf_as_authority(stranger: Stranger) -> dict[str, Any]:
    leaf = stranger.town.authority.issue(stranger.identity, OWN)
    key = ec.generate_private_key(ec.SECP256R1())
    made = TestAuthority.__new__(TestAuthority)
    made.__dict__.update(stranger.town.authority.__dict__ | {"key": stranger.key, "certificate": leaf})
    return stranger.tries(made.issue(Identity(key, stranger.identity.folder), OWN), key=key, extra=[leaf])


def a_certificate_without_its_key(stranger: Stranger) -> dict[str, Any]:
    certificate = stranger.town.authority.issue(stranger.identity, OWN)
    return stranger.tries(certificate, key=ec.generate_private_key(ec.SECP256R1()))


REFUSED: list[tuple[Callable[[Stranger], dict[str, Any]], str]] = [
    (wrong_authority, "no trusted ECDSA public key found"),
    (authority_of_the_same_name, "no trusted ECDSA public key found"),
    (expired, "subject certificate invalid"),
    (not_yet_valid, "subject certificate invalid"),
    (no_address, "no trusted ECDSA public key found"),
    (another_nodes_address, "no trusted ECDSA public key found"),
    (another_nodes_address_under_its_own_name, "no matching peer config found|constraint"),
    (a_leaf_as_authority, "no trusted ECDSA public key found|CA"),
    (a_certificate_without_its_key, "failed"),  # there is nothing it could sign with
]


@pytest.mark.parametrize(("attempt", "reason"), REFUSED, ids=lambda item: getattr(item, "__name__", ""))
def test_refused(stranger: Stranger, attempt: Callable[[Stranger], dict[str, Any]], reason: str) -> None:
    twin = stranger.tries(stranger.town.authority.issue(stranger.identity, OWN))
    assert twin["established"], f"{twin}\n{stranger.town.alice.log[-3000:]}"
    stranger.new_key()
    before = len(stranger.town.alice.log)
    found = attempt(stranger)
    assert not found["established"], stranger.town.alice.log[before:]
    states = stranger.town.alice.run("ip", "xfrm", "state")
    assert "aead" not in states, states
    eventually(lambda: found["fault"] + stranger.town.alice.log[before:], lambda said: re.search(reason, said), 5.0)


def test_revoked_and_the_same_certificate_with_another_signature(stranger: Stranger) -> None:
    town = stranger.town
    certificate = town.authority.issue(stranger.identity, OWN)
    assert stranger.tries(certificate)["established"]
    altered = _with_another_signature(certificate)
    assert altered != certificate.public_bytes(Encoding.DER)
    assert stranger.tries(certificate, der=altered)["established"], "the altered one is as good, while not revoked"
    name = f"{authority_id(town.authority.certificate).hex()}.crl"
    (town.alice.folder / "node" / name).write_bytes(town.authority.revocations(1, certificate))
    eventually(lambda: town.alice.ask("status"), lambda status: status["revocations"] == 1)
    before = len(town.alice.log)
    eventually(lambda: stranger.tries(certificate)["established"], lambda established: not established, 10.0)
    eventually(lambda: town.alice.log[before:], lambda said: "was revoked" in said, 5.0)
    assert not stranger.tries(certificate, der=altered)["established"]
    stranger.new_key()
    fresh = town.authority.issue(stranger.identity, OWN)
    assert stranger.tries(fresh)["established"], "another certificate is not revoked by this list"
    (town.alice.folder / "node" / name).unlink()


def _with_another_signature(certificate: x509.Certificate) -> bytes:
    """(r, s) and (r, n - s) are both signatures of the same data (SEC 1, section 4.1)."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = decode_dss_signature(certificate.signature)
    other = encode_dss_signature(r, order - s)
    tbs = certificate.tbs_certificate_bytes
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    bits = b"\x03" + bytes([len(other) + 1]) + b"\0" + other
    content = tbs + algorithm + bits
    return b"\x30\x82" + len(content).to_bytes(2, "big") + content
