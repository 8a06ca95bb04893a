"""The driver's timer outlives what a wake-up brings about."""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import cast

import pytest

from ipop_core.bus.api import Bus
from ipop_modules.topology import driver
from ipop_modules.topology.protocol.effects import Effect
from ipop_modules.topology.protocol.machine import Machine


class Faulty:
    """Of the machine, what a wake-up needs; its first one meets a fault."""

    def __init__(self) -> None:
        self.woken = 0
        self.again = asyncio.get_running_loop().create_future()

    def wake(self, _now: float) -> list[Effect]:
        self.woken += 1
        if self.woken == 1:
            raise RecursionError("too deep")
        self.again.set_result(None)
        return []

    def next_wake(self) -> float:
        return inf


@pytest.mark.timeout(10)
def test_a_fault_in_a_wake_up_does_not_stop_the_timer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(driver, "WAKE_AGAIN", 0.01)
    caplog.set_level(logging.CRITICAL, "asyncio")

    async def story() -> None:
        machine = Faulty()
        driven = driver.Driver(
            cast("Bus", None), cast("Machine", machine), lambda _answer: None, lambda _wish, _endpoint: None
        )
        asyncio.get_running_loop().call_soon(driven._wake)
        await machine.again
        assert machine.woken == 2

    asyncio.run(story())
