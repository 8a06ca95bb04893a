"""Starts the modules as their needs are met, keeps them running, and stops them in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterable
from typing import Final, TypeAlias

from ipop_core.bus.client import BusClient
from ipop_core.bus.hub import Hub
from ipop_core.supervision.inline import InlineModule
from ipop_core.supervision.nursery import Nursery, Report
from ipop_core.supervision.process import ModuleProcess
from ipop_core.supervision.runtime import Runtime
from ipop_core.supervision.state import ModuleState, Operator

STOP_LIMIT: Final = 3.0
"""Seconds until whatever still runs is killed."""

Keeper: TypeAlias = ModuleProcess | InlineModule


class Supervisor:
    """All modules of one node."""

    def __init__(self, runtime: Runtime, nursery: Nursery, hub: Hub, core: BusClient, operator: Operator) -> None:
        self._keepers: dict[str, Keeper] = {}
        self._needs: dict[str, list[str]] = {}
        modules = runtime.configuration.modules
        for configured in modules:
            name, needs = configured.spec.name, configured.spec.needs
            self._needs[name] = [other.spec.name for other in modules if other.spec.role in needs]
            self._keepers[name] = (
                InlineModule(runtime, configured, hub, operator)
                if configured.isolation == "inline"
                else ModuleProcess(configured, nursery, hub, core, operator)
            )

    def states(self) -> Iterable[ModuleState]:
        """Every module's state, in the order of the configuration."""
        return [keeper.state for keeper in self._keepers.values()]

    @property
    def healthy(self) -> bool:
        """Whether every module runs and answers its heartbeats."""
        return all(state.runs for state in self.states())

    def reported(self, report: Report) -> None:
        """The nursery forked or buried a process."""
        self._keepers[report.name].reported(report)

    def nursery_lost(self) -> None:
        """Every process died with the nursery, and nobody is left to report it."""
        for state in self.states():
            if state.pid is not None:
                self.reported(Report("exited", state.configured.spec.name, state.pid, -signal.SIGKILL))

    async def start(self) -> None:
        """Return once every module runs. Raises what the first one to fail raises."""
        running = {name: asyncio.Event() for name in self._keepers}

        async def start(name: str) -> None:
            for needed in self._needs[name]:
                await running[needed].wait()
            await self._keepers[name].start()
            running[name].set()

        async with contextlib.AsyncExitStack() as stack:
            tasks = [asyncio.create_task(start(name)) for name in self._keepers]
            stack.push_async_callback(_abandon, tasks)
            await asyncio.gather(*tasks)

    async def stop(self) -> None:
        """Stop every module, those first that no other needs; kill what is left after STOP_LIMIT."""
        stopped = {name: asyncio.Event() for name in self._keepers}

        async def stop(name: str) -> None:
            for dependent in (other for other, needs in self._needs.items() if name in needs):
                await stopped[dependent].wait()
            await self._keepers[name].stop()
            stopped[name].set()

        tasks = [asyncio.create_task(stop(name)) for name in self._keepers]
        _, late = await asyncio.wait(tasks, timeout=STOP_LIMIT)
        if late:
            for keeper in self._keepers.values():
                keeper.kill()
            await asyncio.wait(late, timeout=1.0)
        await _abandon(tasks)


async def _abandon(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
