"""What the log says of a link's life: one line when it comes, when it changes its path, and when it goes, and why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ipop_core.lab import Laboratory
from tests.system.node import Node

pytestmark = [pytest.mark.net, pytest.mark.slow]


def test_a_link_comes_changes_its_path_and_goes(lab: Laboratory) -> None:
    public = lab.segment("lines")
    hosts = {name: lab.host(name, public) for name in ("alice", "bob")}
    alice, bob = (
        Node(
            name,
            host,
            lab.folder,
            {
                "tincan": {"address": f"192.168.10.{last}/24"},
                "topology": {},
                "signal": {"bootstraps": [f"{hosts['alice'].address}:4741"]},
                "logger": {"format": "json", "to": str(lab.folder / f"{name}.log")},
            },
            namespace="town",
        ).start()
        for (name, host), last in zip(hosts.items(), (10, 20), strict=True)
    )
    for node in (alice, bob):
        node.ready(timeout=30)
    assert alice.until_answered(bob.address) < 15
    identifier = bob.ask("core", "status")["node"]

    def lines(*messages: str) -> list[tuple[Any, ...]]:
        read = [json.loads(line) for line in (lab.folder / "alice.log").read_text().splitlines()]
        return [
            (line["message"], line.get("endpoint"), line.get("reason"), line.get("address"))
            for line in read
            if line.get("node") == identifier and line["message"] in messages
        ]

    one, other = f"{hosts['bob'].address}:4741", "203.0.113.77:4741"
    ((message, endpoint, reason, _),) = lines("link is up")
    assert (message, endpoint) == ("link is up", one)
    assert reason

    # What a reload takes costs no link: nothing of it is among the lines that come next.
    modules, handshakes, nobody = alice.document["modules"], alice.counters()["handshakes"], "203.0.113.250:4741"
    modules["tincan"] |= {"relay_mbps": 5, "search_sockets": 128}
    modules["topology"]["name"] = "alice"
    modules["signal"]["bootstraps"].append(nobody)
    modules["logger"]["levels"] = {"signal": "debug"}
    alice.config.write_text(json.dumps(alice.document))
    taken = ["logger.levels", "signal.bootstraps", "tincan.relay_mbps", "tincan.search_sockets", "topology.name"]
    assert alice.ask("core", "reload") == {
        "taken": [f"modules.{place}" for place in taken],
        "restart": [],
        "refused": [],
    }
    alice.until("topology", "status", lambda body: body["name"]["state"] == "registered", "topology.*", timeout=20)
    assert nobody in [item["name"] for item in alice.ask("signal", "status")["bootstraps"]]
    assert alice.ping(bob.address).received == 3
    assert alice.counters()["handshakes"] == handshakes

    # Bob's computer gets another address, as when it moves to another network.
    card = hosts["bob"].interface
    hosts["bob"].run(["ip", "addr", "del", f"{hosts['bob'].address}/24", "dev", card])
    hosts["bob"].run(["ip", "addr", "add", "203.0.113.77/24", "dev", card])
    alice.until(
        "link",
        "peers",
        lambda body: any(peer["endpoint"] == other for peer in body["peers"]),
        "link.up",
        "link.down",
        timeout=40,
    )
    told = lines("link is up", "path changed", "link is down")
    assert told[1:] == [("path changed", other, told[1][2], bob.address)]
    assert told[1][2]

    assert bob.stop() == 0
    alice.until("link", "peers", lambda body: not body["peers"], "link.down", timeout=40)
    assert lines("link is down") == [("link is down", None, "closed by peer", bob.address)]

    assert alice.stop() == 0
