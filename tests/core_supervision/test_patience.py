"""A module that was killed before it had started gets more time to start, and is not killed for ever."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from ipop_core.bus.hub import Hub
from ipop_core.supervision import policy
from ipop_core.supervision.nursery import Report
from ipop_core.supervision.process import ModuleProcess
from ipop_core.supervision.state import Operator

KILLED = 3


class Nursery:
    """Forks nothing: its processes never start, and end when they are killed."""

    module: ModuleProcess

    def fork(self, name: str, token: bytes, sock: socket.socket) -> None:
        del token, sock
        self.module.reported(Report("forked", name, pid=1))

    def kill(self, pid: int, number: int) -> None:
        self.module.reported(Report("exited", "slow", pid, status=-number))


def test_each_start_that_takes_too_long_is_given_twice_the_time_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(policy, "START_LIMIT", 0.02)
    said: list[str] = []
    enough = asyncio.Event()

    def say(line: str) -> None:
        if line.endswith("killed"):
            said.append(line)
        if len(said) == KILLED:
            enough.set()

    async def story() -> None:
        nursery: Any = Nursery()
        configured: Any = SimpleNamespace(spec=SimpleNamespace(name="slow", role="slow"), isolation="process")
        core: Any = None
        module = ModuleProcess(configured, nursery, Hub(), core, Operator(lambda name, state: None, say))
        nursery.module = module
        starting = asyncio.create_task(module.start())
        await enough.wait()
        await module.stop()
        await asyncio.wait([starting])

    asyncio.run(story())
    assert said == [f"slow: did not start within {limit:g} s; killed" for limit in (0.02, 0.04, 0.08)]
