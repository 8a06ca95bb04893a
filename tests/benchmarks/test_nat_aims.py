"""Which runs of the grid of NATs are misses, and which routers are not taken for what they should be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.homes import check_kind
from benchmarks.nat_aims import Cell, missed
from ipop_core.lab import LabError, NatKind
from ipop_core.nat_behaviour import Behaviour, Dependence

EASY = Cell("open", "full-cone", True, 400.0, 20, 20, 3, 30)
SEARCHED = Cell("symmetric", "port-restricted", True, 3000.0, 60, 60, 30, 900, 800)
RELAYED = Cell("symmetric", "symmetric", False, None, 80, 80, 160, 10)
GOOD = [EASY, *[SEARCHED] * 30, RELAYED]


def test_good_runs_miss_nothing() -> None:
    assert missed(GOOD, 20.0) == []
    assert missed([*GOOD, *[replace(SEARCHED, direct=False, direct_after_ms=None)] * 3], 20.0) == []


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([replace(EASY, received=19)], "1 of 20 pings lost"),
        ([replace(RELAYED, received=79)], "1 of 80 pings lost"),
        ([replace(EASY, direct=False, direct_after_ms=None)], "expected a direct path"),
        ([replace(EASY, a="symmetric-sequential", b="symmetric-sequential", direct=False)], "expected a direct path"),
        ([replace(EASY, direct_after_ms=510.0)], "a median of 510 ms"),
        ([SEARCHED, replace(SEARCHED, direct_after_ms=15_001.0)], "1 of 2 direct in 15 s"),
        ([replace(SEARCHED, until_direct=2001)], "0 of 1 direct in 15 s and 2000 datagrams"),
        ([replace(EASY, fault="the card did not come up")], "the card did not come up"),
    ],
)
def test_a_miss_is_named(cells: list[Cell], words: str) -> None:
    (line,) = missed(cells, 20.0)
    assert words in line
    assert line.startswith(("easy pairs", cells[0].a))


def test_a_slow_line_has_no_aim_for_the_time() -> None:
    assert missed([replace(EASY, direct_after_ms=900.0)], 50.0) == []


def test_a_symmetric_router_with_regular_ports_is_not_taken_for_one_with_random_ports() -> None:
    strict = Dependence.ADDRESS_AND_PORT
    found = Behaviour(strict, strict, preserves_port=False, sequential=True, hairpin=False)
    check_kind(NatKind.SEQUENTIAL, found)
    with pytest.raises(LabError, match="to be symmetric behaves as"):
        check_kind(NatKind.SYMMETRIC, found)
