"""A member that stops, and starts without IPsec: what holds its traffic is told, and ended by one command."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ipop_core.loader import Registry
from tests.uml.town import CARD, Town, eventually

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow]

IPOP = str(Path(sys.executable).with_name("ipop"))


def test_policies_that_stay_are_told_and_one_command_ends_them(town: Town) -> None:
    alice, bob = town.members
    for member in town.members:
        member.stop()
        assert f"ipop ipsec off --card {CARD}" in member.log
    assert alice.ping(bob.address, "-W", "1", count=2).received == 0
    without = alice.namespace.call(lambda: Registry().leftovers(["tincan"], CARD))
    assert [item.verdict for item in without] == ["bad"]
    assert without[0].mend == f"ipop ipsec off --card {CARD}"
    assert alice.namespace.call(lambda: Registry().leftovers(["tincan", "ipsec"], CARD)) == []
    assert alice.namespace.call(lambda: Registry().leftovers(["tincan"], "another")) == []
    for member in town.members:
        assert f"policies of {CARD} are removed" in member.run(IPOP, "ipsec", "off", "--card", CARD)
    assert alice.ping(bob.address, count=3).received == 3
    assert alice.ping(bob.address6, count=3).received == 3
    assert alice.namespace.call(lambda: Registry().leftovers(["tincan"], CARD)) == []
    for member in town.members:
        member.start()
    assert eventually(lambda: alice.ping(bob.address, count=3), lambda ping: ping.received == 3)
