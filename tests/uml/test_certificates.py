"""Who is refused by IKE, and why; each beside a valid twin that differs in that one thing and is accepted."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ipop_core.authority.revocation import authority_id
from ipop_modules.ipsec.anchors import make_anchors
from tests.authority.cases import ADDRESS, CASES, OTHER, Case, Shown
from tests.authority.makers import self_signed
from tests.uml.town import CARD, Town, eventually

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow]


class Stranger:
    """A charon in Bob's place, whose certificates and keys the test makes."""

    def __init__(self, town: Town) -> None:
        self.town = town
        folder = town.lab.folder / "stranger"
        folder.mkdir(mode=0o700)
        command = [sys.executable, "-m", "tests.uml.stranger", str(folder), CARD]
        pipe = subprocess.PIPE
        self.process = town.bob.namespace.popen(command, stdin=pipe, stdout=pipe)
        assert self._answer() == {"ready": True}

    def tries(self, shown: Shown, identity: str = ADDRESS) -> dict[str, Any]:
        # Its own charon knows by a certificate which key to sign with, also where it shows none.
        held = shown.certificate or _own_certificate(shown.key)
        wish = {
            "certificate": _text(held),
            "shows": bool(shown.certificate),
            "key": _text(_key_for(held, shown.key)),
            "authorities": [_text(item) for item in make_anchors([self.town.authority.certificate])],
            "extra": [_text(item.public_bytes(Encoding.DER)) for item in shown.extra],
            "own": ADDRESS,
            "id": identity,
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


def _own_certificate(key: Any) -> bytes:
    return self_signed(key, ADDRESS).public_bytes(Encoding.DER)


def _key_for(certificate: bytes, key: Any) -> bytes:
    """The key in PKCS8, whose public half says that it is the certificate's: so charon signs with whatever it is."""
    written: bytes = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    wanted = x509.load_der_x509_certificate(certificate).public_key()
    if not isinstance(wanted, ec.EllipticCurvePublicKey):
        return written
    point = (Encoding.X962, PublicFormat.UncompressedPoint)
    return written.replace(key.public_key().public_bytes(*point), wanted.public_bytes(*point))


@pytest.fixture(scope="module")
def stranger(town: Town) -> Iterator[Stranger]:
    """Bob's own module is off meanwhile, and Alice's is a fresh one, which wants nothing of him."""
    town.bob.stop()
    town.alice.stop()
    town.alice.start()
    town.bob.run("ip", "xfrm", "policy", "flush")
    stranger = Stranger(town)
    yield stranger
    stranger.process.kill()
    stranger.process.wait()
    (town.alice.folder / "node" / _list_name(town)).unlink(missing_ok=True)
    # What is not just a newer list takes a fresh charon, which must not begin in the midst of somebody else's test.
    eventually(lambda: town.alice.ask("status"), lambda status: status["revocations"] is None and status["ready"])
    town.bob.start()


def _list_name(town: Town) -> str:
    return f"{authority_id(town.authority.certificate).hex()}.crl"


def tell_alice(town: Town, shown: Shown) -> None:
    """Of the list that the other side is to know, in the case that there is one."""
    if shown.revocations is None:
        return
    number = shown.revocations.number
    (town.alice.folder / "node" / _list_name(town)).write_bytes(shown.revocations.der)
    eventually(lambda: town.alice.ask("status"), lambda status: status["revocations"] == number)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_refused_for_its_own_reason_and_its_twin_is_accepted(stranger: Stranger, case: Case) -> None:
    town = stranger.town
    twin = case.show(town.authority, False)
    tell_alice(town, twin)
    before = len(town.alice.log)
    accepted = stranger.tries(twin)
    assert accepted["established"], f"{accepted}\n{town.alice.log[-3000:]}"
    eventually(lambda: town.alice.log[before:], lambda said: "deleting IKE_SA" in said)
    refused(stranger, case.show(town.authority, True), case.ike)


def test_another_node_s_address_under_that_node_s_name(stranger: Stranger) -> None:
    shown = CASES["another node's address"].show(stranger.town.authority, True)
    refused(stranger, shown, "no matching peer config found|constraint", identity=OTHER)


def refused(stranger: Stranger, shown: Shown, reason: str, identity: str = ADDRESS) -> None:
    alice = stranger.town.alice
    tell_alice(stranger.town, shown)
    before = len(alice.log)
    found = stranger.tries(shown, identity)
    said = eventually(lambda: alice.log[before:], lambda said: "CHILD_SA" in said or "AUTH_FAILED" in said, 20)
    print(found["fault"], "\n", said)
    assert not found["established"]
    states = alice.run("ip", "xfrm", "state")
    assert "aead" not in states, states
    assert re.search(reason, said, re.DOTALL), said
