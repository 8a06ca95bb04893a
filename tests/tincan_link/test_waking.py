"""The module's timer outlives what a wake-up brings about."""

from __future__ import annotations

import asyncio
import logging

import pytest

from ipop_modules.tincan import module
from ipop_modules.tincan.module import Tincan


class Machine:
    """Of the link machine, what a wake-up needs; its first one meets a fault."""

    events: tuple[()] = ()

    def __init__(self) -> None:
        self.woken = 0
        self.again = asyncio.get_running_loop().create_future()

    def wake(self, _now: float) -> None:
        self.woken += 1
        if self.woken == 1:
            raise OSError("no descriptor is free")
        self.again.set_result(None)

    def next_wake(self) -> float | None:
        return None


@pytest.mark.timeout(10)
def test_a_fault_in_a_wake_up_does_not_stop_the_timer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "WAKE_AGAIN", 0.01)
    caplog.set_level(logging.CRITICAL, "asyncio")

    async def story() -> None:
        tincan = object.__new__(Tincan)
        machine = Machine()
        tincan.machine = machine  # type: ignore[assignment]
        asyncio.get_running_loop().call_soon(tincan._wake)
        await machine.again
        assert machine.woken == 2

    asyncio.run(story())
