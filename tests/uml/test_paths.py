"""Real nodes: the path under IPsec changes from relayed to direct and back, and no association is lost."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.system.node import Node
from tests.uml.overlay import SLOW, Overlay, apart, dropped, keys
from tests.uml.town import CARD, eventually
from tests.uml.transfer import Transfer, goes_on

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow, pytest.mark.timeout(300)]

IKE_AUTH = 35
EXCHANGE_TYPE_AT = 20 + 8 + 18
"""In a packet: behind the headers of IPv4 and UDP, in IKE's (RFC 7296, section 3.1)."""


def both_ways(spis: set[str]) -> bool:
    return len(spis) == 2


def make_direct(one: Node, other: Node) -> None:
    """Nothing is in between any more. A node whose machine's addresses change looks for direct paths at once."""
    one.host.namespace.ip("address add 192.0.2.1/32 dev lo")
    one.until_path(other, "direct", timeout=SLOW)
    one.host.namespace.ip("address del 192.0.2.1/32 dev lo")


def test_the_path_changes_during_ike_and_during_a_transfer(overlay: Overlay) -> None:
    alice, bob = overlay.nodes["alice"], overlay.nodes["bob"]
    for node in (overlay.nodes["boot"], alice, bob):
        node.ready(timeout=2 * SLOW)
    with ExitStack() as separation:
        separation.enter_context(apart(alice, bob))
        alice.until_path(bob, "overlay", timeout=SLOW)
        with dropped(alice.host, CARD, f"match ip dport 500 0xffff match u8 {IKE_AUTH} 0xff at {EXCHANGE_TYPE_AT}"):
            assert alice.ping(bob.address, "-W", "0.2", count=1).received == 0
            # Bob has authenticated Alice and has his keys; his answers do not reach her, so she asks again.
            made = eventually(lambda: keys(bob), both_ways)
            assert alice.path_to(bob) == "overlay"
            separation.close()
            make_direct(alice, bob)
            assert not keys(alice)
    assert eventually(lambda: keys(alice), both_ways) == keys(bob) == made, "IKE began anew"
    with Transfer(alice.host.namespace, bob.host.namespace, bob.address) as transfer:
        goes_on(transfer)
        with apart(alice, bob):
            alice.until_path(bob, "overlay", timeout=SLOW)
            goes_on(transfer)
        make_direct(alice, bob)
        goes_on(transfer)
    transfer.check()
    assert keys(alice) == keys(bob) == made
