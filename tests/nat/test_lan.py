"""Two nodes on one segment that know of no bootstrap find each other by multicast."""

from __future__ import annotations

import pytest

from ipop_core.lab import Laboratory
from tests.system.node import Node

pytestmark = [pytest.mark.net, pytest.mark.slow]


@pytest.mark.parametrize("family", [4, 6])
def test_two_nodes_without_a_bootstrap_find_each_other(lab: Laboratory, family: int) -> None:
    public = lab.segment(ipv6=family == 6)
    nodes = []
    for number, name in ((10, "alice"), (20, "bob")):
        sections = {"tincan": {"address": f"192.168.10.{number}/24"}, "topology": {}, "signal": {}, "logger": {}}
        nodes.append(Node(name, lab.host(name, public), lab.folder, sections, namespace="town"))
    for node in nodes:
        if family == 6:
            node.host.run(["ip", "-4", "address", "flush", "dev", node.host.interface])
        node.start()
    for node in nodes:
        node.ready(timeout=40.0)
    alice, bob = nodes
    alice.until_answered(bob.address, timeout=20.0)
    assert alice.ping(bob.address).received == 3
    assert alice.path_to(bob) == "direct"
    assert alice.ask("signal", "status")["lan"] == [bob.node_id()]
