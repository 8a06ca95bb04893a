"""When the driver wakes the machine."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from math import inf
from typing import cast

import pytest

from ipop_core.bus.api import Bus
from ipop_core.clock import boot_clock
from ipop_modules.topology import driver
from ipop_modules.topology.known import KnownPeers
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
            cast("Bus", None), cast("Machine", machine), lambda _answer: None, cast("KnownPeers", None)
        )
        asyncio.get_running_loop().call_soon(driven._wake)
        await machine.again
        assert machine.woken == 2

    asyncio.run(story())


class Waiting:
    """Of the machine, what misses an answer soon."""

    def __init__(self, told: list[str]) -> None:
        self._told = told
        self._due = boot_clock() + 0.01
        self.woken = asyncio.get_running_loop().create_future()

    def wake(self, _now: float) -> list[Effect]:
        self._told.append("missed")
        self._due = inf
        self.woken.set_result(None)
        return []

    def next_wake(self) -> float:
        return self._due


@pytest.mark.timeout(10)
def test_what_came_while_the_process_had_to_wait_is_heard_before_anything_is_missed() -> None:
    told: list[str] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        machine = Waiting(told)
        driven = driver.Driver(
            cast("Bus", None), cast("Machine", machine), lambda _answer: None, cast("KnownPeers", None)
        )

        async def hear() -> None:
            told.append("heard")
            driven.perform([])

        ours, theirs = socket.socketpair()
        tasks = []
        loop.add_reader(ours, lambda: (ours.recv(1), tasks.append(loop.create_task(hear()))))
        driven.perform([])
        theirs.send(b"x")
        time.sleep(0.05)  # noqa: ASYNC251 - the process gets no CPU
        await machine.woken
        loop.remove_reader(ours)

    asyncio.run(story())
    assert told == ["heard", "missed"]
