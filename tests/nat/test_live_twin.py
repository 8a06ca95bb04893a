"""A computer that comes to a network whose router has the same IP address as the last one's: it is another place."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from ipop_core.lab import Igd, Laboratory, NatKind
from tests.nat.test_live_gateway import mapped, start, until
from tests.system.overlay import Overlay

pytestmark = [pytest.mark.net, pytest.mark.slow]

PUBLIC = IPv4Network("26.79.0.0/24")
"""As in test_live_gateway.py."""


def test_a_router_at_the_same_address_with_another_mac_is_asked_for_a_mapping_of_its_own(lab: Laboratory) -> None:
    """Whoever asks where the node is sees the new router first: `mapped` does, and so does every rendezvous."""
    overlay = Overlay(lab, lab.segment(network=PUBLIC), bare_nodes=2)
    overlay.start()
    home = overlay.home("alice", NatKind.SYMMETRIC)
    assert home.router is not None
    twin = lab.twin(home, "twin", overlay.public)
    for router in (home.router, twin):
        Igd(router, lab.folder).start()
    alice = start(overlay, home, 10)
    until(lambda: mapped(alice) == f"pcp {home.public_address}:4741", "a mapping")

    namespace = home.host.namespace
    namespace.ip(f"link del {home.host.interface}")
    attachment = twin.lan.attach("visitor", namespace, "eth1")
    assert (attachment.address, twin.lan.gateway) == (home.host.address, home.router.lan.gateway)
    until(lambda: mapped(alice) == f"pcp {twin.public_address}:4741", "a mapping of the twin's")
    assert "another network" in alice.log.read_text()
    assert alice.stop() == 0
