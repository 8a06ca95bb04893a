"""A peer with whom there are keys is revoked: it is cut off, and comes back no more."""

from __future__ import annotations

import time

import pytest
from cryptography import x509

from ipop_core.authority.revocation import authority_id
from ipop_core.identity import CERTIFICATE_FILE
from ipop_core.lab import Capture
from tests.uml.test_esp import BEEF
from tests.uml.test_failing_closed import spis
from tests.uml.town import CARD, Town, eventually, pinging

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow]

LATEST = 10.0


def test_a_connected_peer_is_cut_off(town: Town) -> None:
    alice, bob = town.members
    assert alice.ping(bob.address, count=3).received == 3
    certificate = x509.load_pem_x509_certificate((bob.folder / "node" / CERTIFICATE_FILE).read_bytes())
    news = alice.folder / "node" / f"{authority_id(town.authority.certificate).hex()}.crl"
    before = len(alice.log)
    with Capture(alice.namespace, CARD) as capture, pinging(bob, alice.address, "-i", "0.05"):
        begun = time.monotonic()
        news.write_bytes(town.authority.revoke(certificate).der)
        eventually(lambda: spis(alice.run("ip", "xfrm", "state")), lambda left: not left, LATEST)
        print(f"cut off {time.monotonic() - begun:.1f} s after the list came")
        eventually(lambda: alice.log[before:], lambda said: "certificate was revoked" in said)
        assert alice.ping(bob.address, "-W", "1", "-p", "deadbeef", count=3).received == 0
        assert bob.ping(alice.address, "-W", "1", "-p", "deadbeef", count=3).received == 0
        assert not spis(alice.run("ip", "xfrm", "state"))
    assert not [packet for packet in capture.find(BEEF) if packet.source == alice.address]
    news.unlink()
    eventually(lambda: alice.ask("status"), lambda status: status["revocations"] is None)
    assert eventually(lambda: alice.ping(bob.address, count=3), lambda ping: ping.received == 3)
