"""One module in a process of its own, as the controller keeps it alive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
from typing import Any, Final

from ipop_core.bus.client import BusClient
from ipop_core.bus.contracts import HEARTBEAT
from ipop_core.bus.hub import Hub
from ipop_core.config import ConfiguredModule
from ipop_core.errors import BusError, IpopError
from ipop_core.supervision.descriptors import LocalDescriptors
from ipop_core.supervision.lifeline import ControllerEnd, Listeners, pair
from ipop_core.supervision.nursery import Nursery, Report
from ipop_core.supervision.policy import HEARTBEAT_EVERY, Heartbeat, RestartPolicy
from ipop_core.supervision.state import ModuleState, Operator

_log: Final = logging.getLogger(__name__)


class ModuleProcess:
    """Keeps one module running; `state` is what the operator sees of it."""

    def __init__(
        self, configured: ConfiguredModule, nursery: Nursery, hub: Hub, core: BusClient, operator: Operator
    ) -> None:
        self.state = ModuleState(configured, operator.changed)
        self._name = configured.spec.name
        self._role = configured.spec.role
        self._nursery = nursery
        self._hub = hub
        self._core = core
        self._operator = operator
        self._policy = RestartPolicy()
        self._descriptors = LocalDescriptors()
        self._forked = asyncio.Event()
        self._started = asyncio.Event()
        self._exited = asyncio.Event()
        self._stopping = asyncio.Event()
        self._fault: str | None = None
        self._has_hung = False
        self._ending = ""
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once the module runs. Raises IpopError when its first start fails for a reason that it can name."""
        self._task = asyncio.create_task(self._keep_running())
        await self._first

    async def stop(self) -> None:
        """Ask the process to end, and wait until it has."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        self._descriptors.close()
        self.state.become("stopped")

    def kill(self) -> None:
        """End the process now."""
        if self.state.pid is not None:
            self._nursery.kill(self.state.pid, signal.SIGKILL)

    def reported(self, report: Report) -> None:
        """The nursery says something of this module."""
        if report.what == "forked":
            self.state.pid = report.pid
            self._forked.set()
            return
        self.state.pid = None
        self._exited.set()
        how = f"signal {-report.status}" if report.status < 0 else f"status {report.status}"
        self._ending = f"ended with {how}"
        _log.debug("process %d of the module %s %s", report.pid, self._name, self._ending)

    async def _keep_running(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            await self._live()
            if self._stopping.is_set():
                self._first.cancel()
                return
            if self._fault is not None and not self._first.done():
                self._first.set_exception(IpopError(self._fault))
                return
            wait = self._policy.died(now(), hung=self._has_hung)
            self.state.become("restarting")
            self._operator.say(f"{self._name}: {self._fault or self._ending}; starts again in {wait:.2f} s")
            if await _happens(self._stopping, within=wait):
                return
            self.state.restarts += 1

    async def _live(self) -> None:
        """One process, from its fork to its end."""
        for event in (self._forked, self._started, self._exited):
            event.clear()
        self._fault = None
        self._has_hung = False
        token = f"{self._name}:{secrets.token_hex(16)}".encode()
        self._hub.broker.admit(token, self._name, self._role)
        ours, theirs = pair()
        with theirs:
            self._nursery.fork(self._name, token, theirs)
        listeners = Listeners(self._started.set, self._has_fault, self._operator.say)
        lifeline = ControllerEnd(ours, self._descriptors, listeners)
        await self._forked.wait()
        await _first_of(self._exited.wait(), self._stopping.wait(), self._hangs())
        if not self._exited.is_set():
            self._nursery.kill(self.state.pid or 0, signal.SIGTERM if self._stopping.is_set() else signal.SIGKILL)
            await self._exited.wait()
        lifeline.close()
        self._hub.leave(token)

    async def _hangs(self) -> None:
        """Return when the process should be killed."""
        limit = self._policy.start_limit
        if not await _happens(self._started, within=limit):
            self._has_hung = True
            self._operator.say(f"{self._name}: did not start within {limit:g} s; killed")
            return
        self._policy.started(asyncio.get_running_loop().time())
        self.state.become("running")
        if not self._first.done():
            self._first.set_result(None)
        heartbeat = self._policy.heartbeat()
        while heartbeat.beat():
            await asyncio.gather(self._ask(heartbeat), asyncio.sleep(HEARTBEAT_EVERY))
        self._has_hung = True
        self._operator.say(f"{self._name}: hangs (no heartbeat); killed")

    async def _ask(self, heartbeat: Heartbeat) -> None:
        with contextlib.suppress(BusError):
            await self._core.request(self._role, HEARTBEAT, timeout=HEARTBEAT_EVERY)
            heartbeat.answered()

    def _has_fault(self, line: str) -> None:
        self._fault = line


async def _happens(event: asyncio.Event, *, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def _first_of(*coroutines: Any) -> None:
    """Wait for whichever ends first, and give up the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
