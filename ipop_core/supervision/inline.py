"""One module in the controller's own process, over the in-memory line of the same bus."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import Final

from ipop_core.bus.client import BusClient
from ipop_core.bus.hub import Hub
from ipop_core.bus.memory import MemoryTransport
from ipop_core.config import ConfiguredModule
from ipop_core.contract import Module
from ipop_core.supervision.child import STOP_LIMIT
from ipop_core.supervision.descriptors import LocalDescriptors
from ipop_core.supervision.nursery import Report
from ipop_core.supervision.runtime import LEVELS_TOPIC, Runtime, build_module, serve_settings, set_level
from ipop_core.supervision.state import ModuleState, Operator

_log: Final = logging.getLogger(__name__)


class InlineModule:
    """The same face as ModuleProcess; it is never restarted, and a fault at its start is the controller's."""

    def __init__(self, runtime: Runtime, configured: ConfiguredModule, hub: Hub, operator: Operator) -> None:
        self.state = ModuleState(configured, operator.changed)
        self._runtime = runtime
        self._configured = configured
        self._hub = hub
        self._operator = operator
        self._descriptors = LocalDescriptors()
        self._client: BusClient | None = None
        self._module: Module | None = None

    async def start(self) -> None:
        """Raises whatever the module raises."""
        spec = self._configured.spec
        line = spec.name.encode()
        self._hub.broker.admit(line, spec.name, spec.role)
        self._client = client = BusClient(MemoryTransport(self._hub, line), self._runtime.contracts, spec.role)
        module = build_module(self._runtime, self._configured, client, self._descriptors, self._operator.say)
        serve_settings(client, spec, module)
        await client.subscribe(LEVELS_TOPIC, functools.partial(set_level, spec.name, logger=f"ipop.{spec.name}"))
        await client.hello()
        self._module = module
        try:
            await module.start()
        except Exception:
            self._module = None  # what never started is not told to stop, as in a process of its own
            raise
        client.started()
        self.state.become("running")

    async def stop(self) -> None:
        if self._module is not None:
            try:
                async with asyncio.timeout(STOP_LIMIT):
                    await self._module.stop()
            except Exception:
                _log.exception("the module %s did not stop as it should", self._configured.spec.name)
        if self._client is not None:
            await self._client.close()
        self._descriptors.close()
        self.state.become("stopped")

    def kill(self) -> None:
        """There is no process to end."""

    def reported(self, report: Report) -> None:
        """The nursery knows nothing of an inline module."""
