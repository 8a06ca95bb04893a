"""Lookups, counted by how they ended."""

from __future__ import annotations

import pytest

from ipop_modules.topology.protocol.effects import Resolved
from ipop_modules.topology.tally import BOUNDS, LookupTally


def ended(source: str, node: bytes | None, took: float) -> Resolved:
    return Resolved(b"\1" * 4, node, source == "directory", source, None, took)  # type: ignore[arg-type]


def test_lookups_by_their_end() -> None:
    tally = LookupTally()
    for resolved in (
        ended("cache", b"n", 0.0),
        ended("directory", b"n", 0.01),
        ended("directory", None, 0.02),
        ended("none", None, 2.6),
    ):
        tally.add(resolved)
    shown = tally.show()
    assert shown["answers"] == {"own": 0, "cache": 1, "found": 1, "absent": 1, "unanswered": 1}
    latency = shown["latency_s"]
    assert latency["bounds"] == list(BOUNDS)
    # A bound holds what took exactly so long, as Prometheus has it; the cache asks nobody.
    assert latency["counts"] == [0, 1, 1, 0, 0, 0, 0, 0, 0, 1]
    assert latency["sum"] == pytest.approx(2.63)
