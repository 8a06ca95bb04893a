"""What every process of a node knows: made by the controller before it forks, and inherited."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from ipop_core.bus.api import Bus, Call, Event
from ipop_core.bus.client import BusClient
from ipop_core.bus.contracts import RECONFIGURE, Contracts
from ipop_core.config import Configuration, ConfiguredModule, resolve
from ipop_core.config.build import build_settings
from ipop_core.contract import Module, ModuleContext, ModuleSpec, Reconfigurable
from ipop_core.files import private_folder
from ipop_core.identity import Identity
from ipop_core.loader import Registry
from ipop_core.namespace import Namespace
from ipop_core.supervision.descriptors import DescriptorStore

LEVELS_TOPIC: Final = "core.levels"


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A node that is about to run."""

    configuration: Configuration
    registry: Registry
    identity: Identity
    namespace: Namespace | None
    contracts: Contracts

    def module(self, name: str) -> ConfiguredModule:
        return next(module for module in self.configuration.modules if module.spec.name == name)

    def announce_process(self, process: str) -> None:
        """Let observers see that a process of this node begins: the hook `ipop_process_started`."""
        configuration = self.configuration
        self.registry.hook.ipop_process_started(process=process, settings=configuration.raw, run=configuration.node.run)


def build_module(
    runtime: Runtime,
    configured: ConfiguredModule,
    bus: Bus,
    descriptors: DescriptorStore,
    report_fault: Callable[[str], None],
) -> Module:
    """Import the module's factory and call it. Raises ConfigError, and whatever the factory raises."""
    spec, node = configured.spec, runtime.configuration.node
    context = ModuleContext(
        node_name=node.name,
        identity=runtime.identity,
        namespace=runtime.namespace,
        settings=configured.settings(),
        bus=bus,
        descriptors=descriptors,
        state=private_folder(node.state / spec.name),
        run=node.run,
        guards=tuple(other.spec.role for other in runtime.configuration.modules if spec.role in other.spec.guards),
        report_fault=report_fault,
    )
    module: Module = resolve(spec.factory, f"modules.{spec.name}")(context)
    return module


def serve_settings(client: BusClient, spec: ModuleSpec, module: Module) -> None:
    """Hand the module new settings when the controller sends some, where it can take any."""
    if not spec.live:
        return
    reconfigurable = cast(Reconfigurable, module)

    async def reconfigure(call: Call) -> None:
        await reconfigurable.reconfigure(build_settings(spec, call.body["section"]))

    client.serve(RECONFIGURE, reconfigure)


def set_level(process: str, event: Event, logger: str | None = None) -> None:
    """Do what the event `core.levels` says, where it means this process, or the inline module of that logger."""
    if event.body.get("module", process) == process:
        logging.getLogger(logger).setLevel(str(event.body["level"]).upper())
