"""Whether this machine can do what protects the node: a node that can't is told so before its first start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipop_core import pidfile
from ipop_core.config.build import Configuration
from ipop_core.contract import CheckContext
from ipop_core.errors import ConfigError
from ipop_core.faults import raise_faults, show_place
from ipop_core.loader import Registry

if TYPE_CHECKING:
    from ipop_core.bus.api import JsonObject


def check_guards(configuration: Configuration, registry: Registry) -> None:
    """Ask the checks of modules that guard others, as `ipop doctor` asks all. Raises ConfigError, a line a fault.

    Without its guard the node would pass no traffic at all, whatever else is in order. What other modules lack shows at
    the start, and may be of another machine than the one that the configuration is checked on.
    """
    faults = []
    running = pidfile.holder(configuration.node.run) is not None
    for module in configuration.modules:
        if not module.spec.guards:
            continue
        context = CheckContext(
            node_name=configuration.node.name, settings=module.settings(), running=running, ask=_nobody
        )
        place = show_place(("modules", module.spec.name))
        faults += [
            ConfigError(place, f"{item.check}: {item.found}; to mend: {item.mend}")
            for item in registry.checks(module.spec.name, context)
            if item.verdict == "bad"
        ]
    raise_faults(faults)


def _nobody(role: str, action: str, body: JsonObject | None = None) -> None:
    """Implements `contract.Ask` where no node is asked."""
