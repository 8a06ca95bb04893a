"""The controller of one node while it runs: the bus, the role `core`, and the modules."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.metadata
import logging
import os
import signal
from collections.abc import Coroutine
from typing import Any, Final

from ipop_core.bus.api import Call, Event, JsonObject
from ipop_core.bus.broker import CORE
from ipop_core.bus.client import BusClient
from ipop_core.bus.hub import Hub
from ipop_core.bus.memory import MemoryTransport
from ipop_core.bus.zeromq import RouterLine
from ipop_core.clock import boot_clock, unix_time_of
from ipop_core.controller.clock_watch import ClockWatch
from ipop_core.controller.reload import Reloader
from ipop_core.controller.service_manager import ServiceManager
from ipop_core.errors import BusError, IpopError
from ipop_core.folders import bus_socket
from ipop_core.supervision.nursery import Nursery
from ipop_core.supervision.runtime import LEVELS_TOPIC, Runtime, set_level
from ipop_core.supervision.state import Operator, State
from ipop_core.supervision.supervisor import Supervisor

PROCESS: Final = "controller"
"""What the controller's own process is called in logs and on the bus."""
_ANSWER_FIRST: Final = 0.02
"""Seconds between the answer to `core.stop` and the end of the bus."""

_log: Final = logging.getLogger(__name__)


class Controller:
    """Runs a node from start to stop in one event loop."""

    def __init__(self, runtime: Runtime, nursery: Nursery, manager: ServiceManager) -> None:
        """Open the bus. Raises IpopError when its socket can't be made."""
        self._runtime = runtime
        self._nursery = nursery
        self._manager = manager
        self._begun = boot_clock()
        self._clock = ClockWatch(_tell_clock)
        self._stop = asyncio.Event()
        self._nursery_lost = False
        self._hub = Hub()
        self._line = RouterLine(self._hub, bus_socket(runtime.configuration.node.run))
        self._hub.broker.admit(CORE.encode(), PROCESS, CORE)
        self._core = BusClient(MemoryTransport(self._hub, CORE.encode()), runtime.contracts, CORE)
        self._reloader = Reloader(runtime.configuration, runtime.registry, self._core)
        self._levels: dict[str, JsonObject] = {}
        """By module, what `core.levels` said last; under an empty name, for all."""
        self._tasks: set[asyncio.Task[None]] = set()
        operator = Operator(self._module_changed, _log.warning)
        self._supervisor = Supervisor(runtime, nursery, self._hub, self._core, operator)

    async def run(self) -> None:
        """Return when the node was told to stop and has. Raises IpopError when it can't start or go on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self._reload_by_signal()))
        self._nursery.watch(self._supervisor.reported, self._lost_nursery)
        actions = {"status": self._status, "stop": self._stopped, "levels": self._set_levels, "reload": self._reload}
        for action, handler in actions.items():
            self._core.serve(action, handler)
        await self._core.hello()
        self._core.started()
        self._clock.start()
        try:
            await self._run_modules()
        finally:
            self._manager.stopping()
            self._clock.stop()
            for task in self._tasks:
                task.cancel()
            await self._supervisor.stop()
            self._nursery.close()
            await self._core.close()
            self._hub.close()
            self._line.close()
        if self._nursery_lost:
            raise IpopError("the process that forks the modules was killed, and the modules with it")

    async def _run_modules(self) -> None:
        starting = asyncio.create_task(self._supervisor.start())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
            return
        try:
            starting.result()
            self._core.publish("core.ready")
            _log.info("the node %s is ready", self._runtime.configuration.node.name)
            self._manager.ready()
            self._tell_health()
            if self._manager.beat is not None:
                self._spawn(self._feed_watchdog(self._manager.beat))
            await stopping
        finally:
            stopping.cancel()

    def _module_changed(self, name: str, state: State) -> None:
        self._core.publish("core.module", {"name": name, "state": state})
        self._tell_health()
        if state == "running" and self._restarts(name):
            self._spawn(self._renew(name))

    def _restarts(self, name: str) -> int:
        return next(state.restarts for state in self._supervisor.states() if state.configured.spec.name == name)

    def _tell_health(self) -> None:
        states = self._supervisor.states()
        ill = [f"{state.configured.spec.name} is {state.state}" for state in states if not state.runs]
        self._manager.status(", ".join(ill) or "every module runs")

    async def _feed_watchdog(self, beat: float) -> None:
        """As long as this loop turns and every module runs."""
        while True:
            if self._supervisor.healthy:
                self._manager.alive()
            await asyncio.sleep(beat)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _renew(self, name: str) -> None:
        """A module's new process knows what the node was started with; tell it what was changed since."""
        for body in (self._levels.get(""), self._levels.get(name)):
            if body is not None:
                self._core.publish(LEVELS_TOPIC, {**body, "module": name})
        await self._reloader.renew(name)

    def _lost_nursery(self) -> None:
        self._nursery_lost = not self._stop.is_set()
        self._stop.set()
        self._supervisor.nursery_lost()

    async def _status(self, _: Call) -> JsonObject:
        states = list(self._supervisor.states())
        namespace = self._runtime.namespace
        return {
            "node": self._runtime.identity.hex,
            "name": self._runtime.configuration.node.name,
            "pid": os.getpid(),
            "version": importlib.metadata.version("ipop"),
            "started": unix_time_of(self._begun),
            "ready": all(state.state == "running" for state in states),
            "namespace": None if namespace is None else namespace.name,
            "modules": [state.show() for state in states],
            "bus": dataclasses.asdict(self._hub.broker.counters),
            "clock_moved_s": self._clock.total,
        }

    async def _stopped(self, _: Call) -> None:
        asyncio.get_running_loop().call_later(_ANSWER_FIRST, self._stop.set)

    async def _reload(self, _: Call) -> JsonObject:
        self._manager.reloading()
        try:
            outcome = await self._reloader.reload()
        finally:
            self._manager.ready()
        for line in [*(f"{place}: taken" for place in outcome.taken), *outcome.refused]:
            _log.info("reload: %s", line)
        for place in outcome.restart:
            _log.warning("reload: %s: needs a restart", place)
        return dataclasses.asdict(outcome)

    async def _reload_by_signal(self) -> None:
        try:
            await self._core.request(CORE, "reload", timeout=60.0)
        except BusError as error:
            for line in error.message.splitlines():
                _log.error("reload: nothing was changed: %s", line)

    async def _set_levels(self, call: Call) -> None:
        """Pass the change on to every process, this one included."""
        body: dict[str, Any] = dict(call.body)
        known = [PROCESS, *(module.spec.name for module in self._runtime.configuration.modules)]
        if body.get("module", PROCESS) not in known:
            raise IpopError(f"module: {body['module']!r} is not one of {', '.join(known)}")
        self._remember_levels(body)
        set_level(PROCESS, Event(LEVELS_TOPIC, PROCESS, body))
        self._core.publish(LEVELS_TOPIC, body)

    def _remember_levels(self, body: JsonObject) -> None:
        """What all were told last counts for each, but where it was told something of its own since."""
        if "module" not in body:
            self._levels.clear()
        self._levels[body.get("module", "")] = body


def _tell_clock(seconds: float) -> None:
    way = "went back" if seconds < 0 else "was set on"
    _log.warning(
        "this machine's clock %s by %.0f s; links stay, new certificates are judged by the new date", way, abs(seconds)
    )
