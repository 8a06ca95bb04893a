"""A real node without IPsec, whose card an earlier run's policies hold: it says so, and how to end it."""

from __future__ import annotations

import socket
from ipaddress import ip_interface

import pytest

from ipop_core.lab import Laboratory
from ipop_modules.ipsec.leftovers import tag_of
from ipop_modules.ipsec.policies import policies_for
from ipop_modules.ipsec.xfrm import Xfrm
from tests.system.node import stop_all
from tests.system.overlay import Overlay

pytestmark = [pytest.mark.net, pytest.mark.slow]

CARD = "tapipop"
HELD = f"kernel policies of an earlier run with IPsec hold the traffic of {CARD}"


def put_policies() -> None:
    with Xfrm() as xfrm:
        index = socket.if_nametoindex(CARD)
        xfrm.put_policies(policies_for([ip_interface("192.168.78.10/24")], index), tag_of(CARD))


def test_a_node_whose_traffic_is_held_says_so_until_a_command_ends_it(lab: Laboratory) -> None:
    public = lab.segment("leftovers")
    overlay = Overlay(lab, public, bare_nodes=1, prefix="buoy")
    overlay.start()
    near, far = (
        overlay.member(name, lab.host(name, public), f"192.168.78.{number}/24")
        for name, number in (("dora", 10), ("emil", 20))
    )
    for node in (near, far):
        node.start()
    for node in (near, far):
        node.ready()
    assert near.ping(far.address).received == 3
    assert HELD not in near.cli("status").stdout
    near.host.namespace.call(put_policies)
    assert near.ping(far.address, "-W", "1", count=2).received == 0
    status, doctor = near.cli("status"), near.cli("doctor", timeout=60.0)
    assert (status.returncode, doctor.returncode) == (1, 1)
    assert f"{HELD}; to end it: ipop ipsec off --card {CARD}" in status.stdout
    assert HELD in " ".join(doctor.stdout.split())
    assert f"to mend IPsec: ipop ipsec off --card {CARD}" in doctor.stdout
    done = near.cli("ipsec", "off", "--card", CARD)
    assert f"policies of {CARD} are removed" in done.stdout
    assert near.ping(far.address).received == 3
    assert HELD not in near.cli("status").stdout
    assert not any(stop_all((near, far)))
