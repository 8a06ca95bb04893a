"""Addresses that the directory chooses, host names, the way to a member, and what a stop gives back."""

from __future__ import annotations

import json
import time

import pytest

from ipop_core.lab import Laboratory
from tests.system.node import BIN, Node, kill, stop_all
from tests.system.overlay import Overlay

pytestmark = [pytest.mark.net, pytest.mark.slow]


def address_of(node: Node, *, but: str = "") -> str:
    """The card's address, once it has one (another one than `but`)."""
    body = node.until(
        "link",
        "status",
        lambda body: body["card"] and body["card"]["up"] and body["card"]["addresses"] != [but],
        "link.card",
        timeout=30.0,
    )
    (address,) = body["card"]["addresses"]
    return str(address)


def until_free(node: Node, address: str) -> float:
    """How many seconds it takes until the directory says that nobody owns it."""
    begun = time.monotonic()
    while time.monotonic() < begun + 20:
        found = node.ask("topology", "resolve", {"address": address, "fresh": True})
        if found["node"] is None and found["certain"]:
            return time.monotonic() - begun
    raise AssertionError(f"{address} still belongs to {found['node']}")


def test_two_that_take_any_address_get_one_each_and_keep_it(lab: Laboratory) -> None:
    public = lab.segment("naming")
    overlay = Overlay(lab, public, bare_nodes=3, prefix="name")
    overlay.start()
    both = [
        overlay.member(name, lab.host(name, public), "auto", topology={"name": name}).start() for name in ("uma", "vic")
    ]
    for node in both:
        node.ready()
    uma, vic = both
    given = [address_of(node) for node in both]
    assert len({*given}) == 2
    assert all(address.startswith("192.168.10.") and address.endswith("/24") for address in given)
    bare = [address.partition("/")[0] for address in given]
    assert uma.ping(bare[1]).received == 3
    assert vic.ping(bare[0]).received == 3

    found = uma.ask("topology", "resolve_name", {"name": "VIC", "fresh": True})
    assert (found["node"], found["addresses"]) == (vic.ask("core", "status")["node"], [bare[1]])
    listed = uma.ask("topology", "members")["members"]
    assert sorted((item["name"], *item["addresses"]) for item in listed) == [("uma", bare[0]), ("vic", bare[1])]

    shown = uma.host.run([str(BIN / "ipop"), "-c", str(uma.config), "trace", bare[1], "--json"]).stdout
    way = json.loads(shown)
    assert way["reached"] and way["sealed"]
    assert way["hops"][-1]["addresses"] == [bare[1]]
    assert all(hop["rtt_ms"] > 0 for hop in way["hops"] if hop["node"])

    kill(uma.module_pid("tincan"))
    uma.until("core", "status", lambda body: body["ready"], "core.module", timeout=30.0)
    assert address_of(uma) == given[0]
    assert vic.until_answered(bare[0]) < 15

    assert vic.stop() == 0
    took = until_free(uma, bare[1])
    print(f"free {took:.1f} s after the stop")
    assert uma.ask("topology", "resolve_name", {"name": "vic", "fresh": True})["node"] is None
    vic.start().ready()
    assert address_of(vic) == given[1]
    assert not any(stop_all((*both, *overlay.bare)))
