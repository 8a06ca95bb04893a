"""Real nodes: one is revoked while the news can't come through, and tells nobody; it is cut off all the same.

Mallory is of no use to others afterwards, and Alice and Bob have keys: what wants them fresh comes before.
"""

from __future__ import annotations

import time

import pytest
from cryptography import x509

from ipop_core.identity import CERTIFICATE_FILE
from tests.system.node import Node
from tests.uml.overlay import SLOW, Overlay, isolated, keys
from tests.uml.town import eventually

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow, pytest.mark.timeout(300)]

LATEST = 10.0


def cut_off(node: Node, other: Node) -> bool:
    return not keys(node, other.address)


def test_a_partition_and_a_revoked_member_that_withholds_the_news(overlay: Overlay) -> None:
    boot, alice, bob, mallory = (overlay.nodes[name] for name in ("boot", "alice", "bob", "mallory"))
    overlay.start_withholding("mallory")
    for node in (boot, alice, bob, mallory):
        node.ready(timeout=2 * SLOW)
    for near, far in ((alice, mallory), (bob, mallory), (alice, bob)):
        near.until_answered(far.address, SLOW)
        near.until_path(far, "direct", SLOW)
    certificate = x509.load_pem_x509_certificate((mallory.folder / "state" / CERTIFICATE_FILE).read_bytes())
    news = overlay.authority.revoke(certificate).der
    with isolated(alice, [boot, bob, mallory]):
        begun = time.monotonic()
        alice.on_bus(lambda bus: bus.request("link", "crl", {}, [news]))
        eventually(lambda: cut_off(alice, mallory), bool, LATEST)
        print(f"Alice, who is told, cuts her off within {time.monotonic() - begun:.1f} s")
        assert bob.ping(mallory.address, count=3).received == 3
        bob.until("crypto", "status", lambda status: status["revocations"] is None)
    begun = time.monotonic()
    alice.until_path(bob, "direct", SLOW)
    back = time.monotonic()
    eventually(lambda: cut_off(bob, mallory), bool, LATEST)
    print(f"Bob, who is told when Alice is back, after {back - begun:.1f} + {time.monotonic() - back:.1f} s")
    assert bob.ask("crypto", "status")["revocations"] == overlay.authority.number
    for member in (alice, bob):
        assert mallory.ping(member.address, "-W", "1", count=2).received == 0
        assert member.ping(mallory.address, "-W", "1", count=2).received == 0
        assert cut_off(member, mallory)
    alice.until_answered(bob.address, SLOW)
