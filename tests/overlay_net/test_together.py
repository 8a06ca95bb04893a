"""The same scenario with whole nodes in virtual time and with real processes in namespaces."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.overlay_net.real import real_cluster
from benchmarks.overlay_net.together import play
from benchmarks.overlay_net.virtual import VirtualCluster

NODES, KILLED, SEED = 5, 2, 1


def is_right(figures: dict[str, Any]) -> None:
    print(figures)
    assert figures["lookups"] == {"right": NODES * (NODES - 1), "wrong": 0, "failed": 0}
    assert figures["lookups_unresolved"] == 0
    assert (figures["pairs"], figures["pairs_silent"]) == (6, 0)


def test_in_virtual_time() -> None:
    is_right(play(VirtualCluster(NODES, SEED), NODES, KILLED, SEED))


@pytest.mark.net
def test_with_real_nodes() -> None:
    with real_cluster(NODES, seconds=0.0) as cluster:
        is_right(play(cluster, NODES, KILLED, SEED))
