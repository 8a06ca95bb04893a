"""What is told of a clock that was set. That the kernel says so when it happens is shown in tests/uml/test_clock.py."""

from __future__ import annotations

import pytest

from ipop_core.controller.clock_watch import LEAST, ClockWatch
from tests.core_supervision.node import story


@story
async def test_what_time_servers_do_all_the_time_is_not_worth_a_line() -> None:
    told: list[float] = []
    watch = ClockWatch(told.append)
    watch.start()
    try:
        for moved in (LEAST / 2, -LEAST / 2, 3600.0, -86_400.0):
            watch._epoch -= moved  # as if the clock had stood there
            watch._was_set()
    finally:
        watch.stop()
    assert told == pytest.approx([3600.0, -86_400.0], abs=0.1)
    assert watch.total == pytest.approx(3600.0 - 86_400.0, abs=0.2)
