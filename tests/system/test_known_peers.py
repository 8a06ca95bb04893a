"""A node starts again when every bootstrap is gone for good: the peers on its disk lead it back into the ring."""

from __future__ import annotations

import json
import signal

import pytest

from ipop_core.lab import Laboratory
from tests.system.node import Node, stop_all
from tests.system.overlay import PORT, Overlay
from tests.uml.town import eventually

pytestmark = [pytest.mark.net, pytest.mark.slow]


def wanted_by(node: Node) -> set[str]:
    """Nodes whose place in the ring is next to its own, as it keeps them on its disk."""
    path = node.folder / "state/topology/known-peers.json"
    return set(json.loads(path.read_text())["near"]) if path.exists() else set()


def test_a_node_is_back_with_all_bootstraps_dead(lab: Laboratory) -> None:
    overlay = Overlay(lab, lab.segment("orphans"), bare_nodes=2, prefix="gone")
    endpoints = [f"{node.host.address}:{PORT}" for node in overlay.bare]
    members = [
        overlay.member(
            name,
            lab.host(name, overlay.public),
            f"192.168.10.{number}/24",
            bootstraps=endpoints,
            signal={"lan": False},  # all are in one network here, and would find each other so
        )
        for number, name in enumerate(("ann", "ben", "cid"), start=1)
    ]
    for node in (*overlay.bare, *members):
        node.start()
    ann, ben, cid = (node.ready() for node in members)
    others = {ben.node_id(): ben, cid.node_id(): cid}
    eventually(lambda: wanted_by(ann), lambda wanted: wanted >= others.keys())
    assert ann.stop() == 0
    for node in overlay.bare:
        node.stop(signal.SIGKILL)

    ann.start().ready()
    # On a slow machine it is a ring of its own at first.
    ann.until(
        "topology",
        "status",
        lambda body: {item["node"] for item in body["neighbours"]} == {*others},
        "link.up",
        timeout=30.0,
    )
    assert "found a known peer" in ann.log.read_text()
    ann.ready()
    assert ann.ping(ben.address).received == ann.ping(cid.address).received == 3
    found = cid.ask("topology", "resolve", {"address": ann.address, "fresh": True})
    assert found["node"] == ann.node_id()
    assert not any(stop_all(members))
