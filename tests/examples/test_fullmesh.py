"""A stranger's topology instead of the ring: its rules, and the tutorial's ping, swapped in by configuration."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_core.lab import Laboratory, capabilities
from tests.examples.installing import EXAMPLES, install
from tests.system.conftest import require
from tests.system.node import Node
from tests.system.overlay import Overlay

ALICE, BOB, CAROL = (letter * 20 for letter in (b"a", b"b", b"c"))
ADDRESS = bytes([192, 168, 10, 10])


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "fullmesh_rules", EXAMPLES / "ipop-fullmesh" / "ipop_fullmesh" / "mesh.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


rules = load()


def mesh(node: bytes, namespace: bytes = b"n" * 32) -> Any:
    return rules.Mesh(node, namespace, 8)


def tell(one: Any, other: Any, node: bytes, now: float) -> Any:
    """What `one`, which is `node`, says to `other` when they are linked."""
    doings = one.link_up(other._me, now)
    other.link_up(node, now)
    (data,) = [data for to, data in doings.send if to == other._me]
    return other.receive(node, data, now)


def test_who_is_heard_of_is_wished_for_by_way_of_the_neighbour_and_again_later() -> None:
    alice, bob = mesh(ALICE), mesh(BOB)
    bob.link_up(CAROL, 0.0)
    doings = tell(bob, alice, BOB, 0.0)
    assert doings.connect == [(CAROL, BOB)]
    assert alice.wake(1.0).connect == []
    assert alice.wake(rules.CONNECT_AGAIN + 1).connect == [(CAROL, BOB)]
    alice.link_up(CAROL, 9.0)
    assert alice.wake(20.0).connect == []


def test_a_neighbours_address_is_found_and_of_two_the_older_claim_counts() -> None:
    alice, bob, carol = mesh(ALICE), mesh(BOB), mesh(CAROL)
    bob.set_addresses([ADDRESS], 2000, 0.0)
    carol.set_addresses([ADDRESS], 1000, 0.0)
    tell(bob, alice, BOB, 0.0)
    assert alice.owner(ADDRESS, 0.0) == (BOB, True)
    tell(carol, alice, CAROL, 0.0)
    assert alice.owner(ADDRESS, 0.0) == (CAROL, True)
    tell(carol, bob, CAROL, 0.0)
    assert bob.owner(ADDRESS, 0.0) == (CAROL, True)
    alice.link_down(CAROL, 1.0)
    assert alice.owner(ADDRESS, 1.0) == (BOB, True)


def test_nobody_is_certain_only_when_there_was_time_to_hear() -> None:
    alice, bob = mesh(ALICE), mesh(BOB)
    assert alice.owner(ADDRESS, 100.0) == (None, False)
    tell(bob, alice, BOB, 100.0)
    assert alice.owner(ADDRESS, 100.1) == (None, False)
    assert alice.owner(ADDRESS, 100.1 + rules.YOUNG) == (None, True)


def test_who_was_heard_of_and_is_not_linked_yet_may_own_it() -> None:
    alice, bob = mesh(ALICE), mesh(BOB)
    bob.link_up(CAROL, 0.0)
    tell(bob, alice, BOB, 100.0)
    assert alice.owner(ADDRESS, 100.1 + rules.YOUNG) == (None, False)
    assert alice.owner(ADDRESS, 100.1 + rules.AWAITED) == (None, True)
    alice.link_up(CAROL, 101.0)
    assert alice.owner(ADDRESS, 101.1 + rules.YOUNG) == (None, True)


def test_what_was_said_before_the_other_sides_link_is_up_is_said_again() -> None:
    alice, bob = mesh(ALICE), mesh(BOB)
    bob.set_addresses([ADDRESS], 1000, 0.0)
    (early,) = bob.link_up(ALICE, 0.0).send
    alice.receive(BOB, early[1], 0.1)
    (answer,) = bob.receive(ALICE, alice.link_up(BOB, 0.2).send[0][1], 0.2).send
    again = alice.receive(BOB, answer[1], 0.3)
    assert alice.owner(ADDRESS, 0.3) == (BOB, True)
    assert bob.receive(ALICE, again.send[0][1], 0.4).send == []


def test_another_namespace_learns_nothing() -> None:
    alice, bob = mesh(ALICE, b"x" * 32), mesh(BOB)
    bob.set_addresses([ADDRESS], 1000, 0.0)
    tell(bob, alice, BOB, 0.0)
    assert alice.owner(ADDRESS, 10.0) == (None, True)


@given(st.binary(max_size=200))
def test_garbage_is_dropped_and_counted(data: bytes) -> None:
    alice = mesh(ALICE)
    alice.link_up(BOB, 0.0)
    doings = alice.receive(BOB, data, 0.0)
    assert alice.dropped == 1 or doings.news


def swapped(node: Node) -> Node:
    modules = node.document["modules"]
    modules["fullmesh"] = modules.pop("topology")
    return node


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(install("ipop-fullmesh", tmp_path)))


@pytest.mark.net
@pytest.mark.slow
def test_the_tutorials_ping_with_it(installed: None) -> None:
    for right in (capabilities().laboratory, capabilities().tun):
        require(right)
    with Laboratory() as lab:
        public = lab.segment()
        overlay = Overlay(lab, public, bare_nodes=3)
        for node in overlay.bare:
            swapped(node)
        overlay.start()
        alice, bob = (
            swapped(overlay.member(name, overlay.home(name).host, f"192.168.10.{number}/24")).start()
            for name, number in (("alice", 10), ("bob", 20))
        )
        for node in (alice, bob):
            node.ready()
        assert alice.ping(bob.address, count=10).received == 10
        assert bob.ping(alice.address).received == 3
        alice.until_direct(bob)
        alice.until("topology", "status", lambda body: len(body["neighbours"]) == 4, "link.up")
        assert alice.ping("192.168.10.77", count=1).received == 0
        for node in (alice, bob, *overlay.bare):
            assert node.stop() == 0
