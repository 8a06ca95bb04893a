"""What the roles of this node say of themselves, gathered over the bus."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ipop_core.bus.api import Bus, JsonObject
from ipop_core.errors import BusError
from ipop_modules.monitor.processes import Usage, read_usage

PATIENCE: Final = 2.0
"""Seconds that a role has for its answer."""
DRAWN: Final = ("link", "topology", "signal")
"""Roles that the page shows."""
COUNTED: Final = (*DRAWN, "logger", "resolver", "crypto")
"""Roles whose figures are known here; others count as modules alone."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The answers of one moment; a role that does not answer is missing."""

    core: JsonObject
    roles: Mapping[str, JsonObject] = field(default_factory=dict)
    """By role, the answer of its action `status`."""
    peers: Sequence[JsonObject] = ()
    usage: Mapping[str, Usage] = field(default_factory=dict)
    """By process: a module's name, `controller`, or `nursery`, which forks the others."""


async def gather(bus: Bus, roles: Sequence[str] = COUNTED, *, usage: bool = True) -> Figures:
    """Ask these roles at once, and wait for PATIENCE at most; `usage`: measure the processes, too.

    Raises BusError when the controller is silent.
    """
    core, peers, *answers = await asyncio.gather(
        _ask(bus, "core", "status"), _ask(bus, "link", "peers"), *(_ask(bus, role, "status") for role in roles)
    )
    if core is None:
        raise BusError("timeout", "core.status: no answer in time")
    return Figures(
        core=core,
        roles={role: answer for role, answer in zip(roles, answers, strict=True) if answer is not None},
        peers=() if peers is None else peers["peers"],
        usage=_usage(core) if usage else {},
    )


async def _ask(bus: Bus, role: str, action: str) -> JsonObject | None:
    try:
        return (await bus.request(role, action, timeout=PATIENCE)).body
    except BusError:
        return None


def _usage(core: JsonObject) -> dict[str, Usage]:
    processes = {module["name"]: module["pid"] for module in core["modules"] if module["pid"] is not None}
    processes["controller"] = core["pid"]
    if os.getpid() in processes.values() and os.getpid() != core["pid"]:
        processes["nursery"] = os.getppid()
    found = {name: read_usage(pid) for name, pid in processes.items()}
    return {name: usage for name, usage in found.items() if usage is not None}
