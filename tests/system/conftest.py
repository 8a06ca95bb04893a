from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from ipop_core.lab import Laboratory, Right, capabilities
from tests.system.node import Node
from tests.system.overlay import Overlay


@pytest.fixture(scope="package")
def allowed() -> None:
    rights = capabilities()
    for right in (rights.laboratory, rights.tun):
        require(right)


@pytest.fixture(scope="package")
def lab(allowed: None) -> Iterator[Laboratory]:
    with Laboratory() as laboratory:
        yield laboratory


@pytest.fixture(scope="package")
def town(allowed: None) -> Iterator[Town]:
    with Laboratory() as laboratory:
        yield Town(laboratory)


class Town:
    """The overlay that most tests share: Alice and Bob behind NATs, Carol on the public segment, all in one namespace.

    Mallory is in another. Whoever breaks something mends it.
    """

    def __init__(self, lab: Laboratory) -> None:
        self.lab = lab
        self.public = lab.segment()
        self.overlay = Overlay(lab, self.public)
        homes = [self.overlay.home(name) for name in ("alice", "bob")]
        hosts = [*(home.host for home in homes), lab.host("carol", self.public), lab.host("mallory", self.public)]
        process = {"isolation": "process"}
        self.alice = self.overlay.member("alice", hosts[0], "192.168.10.10/24", logger=process)
        self.bob = self.overlay.member("bob", hosts[1], "192.168.10.20/24", logger=process)
        self.carol = self.overlay.member("carol", hosts[2], "192.168.10.30/24", monitor={})
        self.mallory = self.overlay.member("mallory", hosts[3], "192.168.10.66/24", namespace="twon")
        everybody = [*self.overlay.bare, *self.members]
        for node in everybody:
            node.start()
        for node in everybody:
            node.ready()

    @property
    def members(self) -> list[Node]:
        return [self.alice, self.bob, self.carol, self.mallory]

    @contextlib.contextmanager
    def relayed(self) -> Iterator[None]:
        """Alice's traffic to Bob goes over the overlay, while this lasts."""
        # A fresh start: a direct path that is there takes a while to be given up.
        assert self.alice.stop() == 0
        with self.overlay.no_direct_path("alice", "bob"):
            self.alice.start().ready()
            assert self.alice.ping(self.bob.address).received == 3
            yield
            assert self.alice.path_to(self.bob) == "overlay"

    def make_direct(self) -> None:
        """Alice's traffic to Bob goes over a direct link."""
        assert self.alice.ping(self.bob.address, count=1).received == 1
        self.alice.until_direct(self.bob)
        self.bob.until_direct(self.alice)


def require(right: Right) -> None:
    """Skip what this machine refuses; where CI is set, a test that could not run is a failure."""
    if right:
        return
    if os.environ.get("CI"):
        pytest.fail(f"could not run: {right.reason}")
    pytest.skip(right.reason)
