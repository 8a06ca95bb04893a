"""Nodes behind a router with a real miniupnpd: its mappings are made, used, made again and ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv4Network

import pytest

from ipop_core.lab import Home, Igd, Laboratory, NatKind
from tests.system.node import Node
from tests.system.overlay import Overlay

pytestmark = [pytest.mark.net, pytest.mark.slow]

PUBLIC = IPv4Network("26.77.0.0/24")
"""miniupnpd serves no router whose outer address is one of those for documentation. This one leads nowhere else."""
PATIENCE = 15.0


@pytest.fixture
def overlay(lab: Laboratory) -> Overlay:
    overlay = Overlay(lab, lab.segment(network=PUBLIC))
    overlay.start()
    return overlay


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.05)


def mapped(node: Node) -> str | None:
    found = node.ask("link", "netcheck")["port_mapping"]
    return None if found is None else f"{found['protocol']} {found['outer']}"


def start(overlay: Overlay, home: Home, number: int) -> Node:
    return overlay.member(home.name, home.host, f"192.168.10.{number}/24").start().ready(timeout=40.0)


def test_a_mapping_is_used_by_a_peer_made_again_by_a_restarted_router_and_ended_at_the_stop(
    lab: Laboratory, overlay: Overlay
) -> None:
    homes = [overlay.home(name, NatKind.SYMMETRIC) for name in ("alice", "bob")]
    assert homes[0].router is not None
    igd = Igd(homes[0].router, lab.folder)
    igd.start()
    alice, bob = (start(overlay, home, number) for home, number in zip(homes, (10, 20), strict=True))
    outer = f"{homes[0].public_address}:4741"
    until(lambda: mapped(alice) == f"pcp {outer}", "a mapping")
    assert len(igd.mappings()) == 1
    assert bob.ping(alice.address, count=5).received == 5
    bob.until_direct(alice)
    assert bob.ask("link", "why", {"node": alice.node_id()})["endpoint"] == outer

    igd.stop()
    assert igd.mappings() == []
    igd.start()
    until(lambda: len(igd.mappings()) == 1, "a mapping of the restarted router's")
    assert mapped(alice) == f"pcp {outer}"

    began = time.monotonic()
    assert alice.stop() == 0
    print(f"stopped after {time.monotonic() - began:.2f} s")
    assert igd.mappings() == [], "the router was told that nobody needs the port any more"
