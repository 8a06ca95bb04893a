"""The controller of one node while it runs: the bus, the role `core`, and the modules."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.metadata
import logging
import os
import signal
import time
from typing import Any, Final

from ipop_core.bus.api import Call, Event, JsonObject
from ipop_core.bus.broker import CORE
from ipop_core.bus.client import BusClient
from ipop_core.bus.hub import Hub
from ipop_core.bus.memory import MemoryTransport
from ipop_core.bus.zeromq import RouterLine
from ipop_core.errors import IpopError
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

    def __init__(self, runtime: Runtime, nursery: Nursery) -> None:
        """Open the bus. Raises IpopError when its socket can't be made."""
        self._runtime = runtime
        self._nursery = nursery
        self._begun = time.time()
        self._stop = asyncio.Event()
        self._nursery_lost = False
        self._hub = Hub()
        self._line = RouterLine(self._hub, bus_socket(runtime.configuration.node.run))
        self._hub.broker.admit(CORE.encode(), PROCESS, CORE)
        self._core = BusClient(MemoryTransport(self._hub, CORE.encode()), runtime.contracts, CORE)
        operator = Operator(self._module_changed, _log.warning)
        self._supervisor = Supervisor(runtime, nursery, self._hub, self._core, operator)

    async def run(self) -> None:
        """Return when the node was told to stop and has. Raises IpopError when it can't start or go on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        self._nursery.watch(self._supervisor.reported, self._lost_nursery)
        for action, handler in {"status": self._status, "stop": self._stopped, "levels": self._levels}.items():
            self._core.serve(action, handler)
        await self._core.hello()
        self._core.started()
        try:
            await self._run_modules()
        finally:
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
            await stopping
        finally:
            stopping.cancel()

    def _module_changed(self, name: str, state: State) -> None:
        self._core.publish("core.module", {"name": name, "state": state})

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
            "started": self._begun,
            "ready": all(state.state == "running" for state in states),
            "namespace": None if namespace is None else namespace.name,
            "modules": [state.show() for state in states],
            "bus": dataclasses.asdict(self._hub.broker.counters),
        }

    async def _stopped(self, _: Call) -> None:
        asyncio.get_running_loop().call_later(_ANSWER_FIRST, self._stop.set)

    async def _levels(self, call: Call) -> None:
        """Pass the change on to every process, this one included."""
        body: dict[str, Any] = dict(call.body)
        known = [PROCESS, *(module.spec.name for module in self._runtime.configuration.modules)]
        if body.get("module", PROCESS) not in known:
            raise IpopError(f"module: {body['module']!r} is not one of {', '.join(known)}")
        set_level(PROCESS, Event(LEVELS_TOPIC, PROCESS, body))
        self._core.publish(LEVELS_TOPIC, body)
