"""IPv6 inside the tunnel, and nothing but IPv6 outside of it."""

from __future__ import annotations

import pytest

from ipop_core.lab import Laboratory
from tests.system.node import stop_all
from tests.system.overlay import Overlay

pytestmark = [pytest.mark.net, pytest.mark.slow]


def test_ipv6_inside_and_outside(lab: Laboratory) -> None:
    public = lab.segment("public6", ipv6=True)
    overlay = Overlay(lab, public, ipv6=True, bare_nodes=2, prefix="six")
    hosts = [lab.host(name, public) for name in ("frank", "grace")]
    assert overlay.bootstrap_endpoint == "[2001:db8::2]:4741"
    for host in [*hosts, *(node.host for node in overlay.bare)]:
        host.run(["ip", "-4", "address", "flush", "dev", host.interface])
    overlay.start()
    frank, grace = (
        overlay.member(host.name, host, [f"192.168.10.{number}/24", f"fd00::{number}/64"]).start()
        for number, host in enumerate(hosts, 1)
    )
    for node in (frank, grace):
        node.ready()
    with lab.capture(public) as capture:
        assert frank.ping("fd00::2", "-6", count=10).received == 10
        assert grace.ping("fd00::1", "-6").received == 3
        assert frank.ping("192.168.10.2").received == 3
        nobody = frank.ping("fd00::77", "-6")
        assert nobody.received == 0
        assert "Address unreachable" in nobody.output
        assert capture.count("2001:db8::4", "2001:db8::5") > 0
    frank.until_direct(grace)
    assert not any(stop_all((frank, grace, *overlay.bare)))
