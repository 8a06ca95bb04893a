"""A router's epoch: that it runs on is no loss, that it began anew is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol.epoch import Epoch, Moment, lost_by_nat_pmp, lost_by_pcp

Rule: TypeAlias = Callable[[Moment, Moment], bool]
RULES: list[Rule] = [lost_by_pcp, lost_by_nat_pmp]


@pytest.mark.parametrize("rule", RULES)
@given(epoch=st.integers(0, 1 << 31), seconds=st.floats(0.0, 1e6), drift=st.floats(-0.04, 0.04))
def test_a_clock_that_runs_on_is_believed(rule: Rule, epoch: int, seconds: float, drift: float) -> None:
    after: Moment = (epoch + int(seconds * (1 + drift)), 100.0 + seconds)
    assert not rule((epoch, 100.0), after)


@pytest.mark.parametrize("rule", RULES)
@given(epoch=st.integers(4, 1 << 31), seconds=st.floats(4.0, 1e6))
def test_a_clock_that_began_anew_is_a_loss(rule: Rule, epoch: int, seconds: float) -> None:
    assert rule((epoch, 100.0), (0, 100.0 + seconds))


def test_a_pcp_router_restored_from_a_copy_is_a_loss_too() -> None:
    assert lost_by_pcp((100, 0.0), (5000, 100.0))
    assert not lost_by_nat_pmp((100, 0.0), (5000, 100.0))


def test_the_first_word_is_believed() -> None:
    epoch = Epoch(lost_by_pcp)
    assert not epoch.heard(50, 0.0)
    assert not epoch.heard(60, 10.0)
    assert epoch.heard(0, 11.0)
    assert not epoch.heard(1, 12.0)


def test_a_pcp_clock_may_go_back_by_one_second_and_no_more() -> None:
    assert not lost_by_pcp((100, 0.0), (99, 0.0))
    assert lost_by_pcp((100, 0.0), (98, 0.0))
