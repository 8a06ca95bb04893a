"""A running node's configuration, read again: what modules can take while they run, they take; the rest is named.

Nothing is touched before the whole file has been found sound. A module says by `ModuleSpec.live` which keys of its
section it can take, and takes them by `reconfigure`; every other difference waits for a restart.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from ipop_core.bus.client import BusClient
from ipop_core.bus.contracts import RECONFIGURE
from ipop_core.config import Configuration, ConfiguredModule, load
from ipop_core.config.lines import with_line
from ipop_core.errors import BusError, ConfigError
from ipop_core.faults import show_place
from ipop_core.loader import Registry

LIMIT: Final = 5.0
"""Seconds that a module may take for its new settings."""

_log: Final = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Places in the configuration, sorted; `refused` are lines that say why."""

    taken: list[str]
    restart: list[str]
    refused: list[str]


class Reloader:
    """Knows what the modules run with."""

    def __init__(self, configuration: Configuration, registry: Registry, core: BusClient) -> None:
        self._running: Final = configuration
        self._registry: Final = registry
        self._core: Final = core
        self._sections: Final = {module.spec.name: dict(module.section) for module in configuration.modules}

    async def reload(self) -> Outcome:
        """Read the file again and do what can be done. Raises ConfigError, with the lines, when it is not sound."""
        wanted = load_with_lines(self._running.path, self._registry)
        outcome = Outcome([], list(_elsewhere(self._running, wanted)), [])
        for module in self._running.modules:
            other = next((other for other in wanted.modules if other.spec.name == module.spec.name), None)
            if other is not None:
                await self._take(module, other.section, outcome)
        return Outcome(*map(sorted, dataclasses.astuple(outcome)))

    async def renew(self, name: str) -> None:
        """Give a module that was started anew what it had taken since the node began."""
        module = next(module for module in self._running.modules if module.spec.name == name)
        if self._sections[name] == module.section:
            return
        try:
            await self._send(module, self._sections[name])
        except BusError as fault:
            _log.warning("%s has its first settings again, not those of the last reload: %s", name, fault.message)

    async def _take(self, module: ConfiguredModule, wanted: Mapping[str, Any], outcome: Outcome) -> None:
        name, old = module.spec.name, self._sections[module.spec.name]
        changed = [key for key in {**old, **wanted} if old.get(key) != wanted.get(key)]
        live = [key for key in changed if key in module.spec.live and key in wanted]
        outcome.restart.extend(show_place(("modules", name, key)) for key in changed if key not in live)
        if not live:
            return
        section = {**old, **{key: wanted[key] for key in live}}
        try:
            await self._send(module, section)
        except BusError as fault:
            outcome.refused.append(f"modules.{name}: {fault.message}")
            return
        self._sections[name] = section
        outcome.taken.extend(show_place(("modules", name, key)) for key in live)

    async def _send(self, module: ConfiguredModule, section: Mapping[str, Any]) -> None:
        await self._core.request(module.spec.role, RECONFIGURE, {"section": section}, timeout=LIMIT)


def load_with_lines(path: Path, registry: Registry) -> Configuration:
    """As `load`, with every module's own faults, and the line of each. Raises ConfigError."""
    try:
        configuration = load(path, registry)
        configuration.check_settings()
    except ConfigError as error:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise error from None
        raise with_line(error, text, str(path)) from None
    return configuration


def _elsewhere(running: Configuration, wanted: Configuration) -> Iterable[str]:
    """What differs outside of the modules' own keys."""
    for place in ("node", "namespace"):
        if running.raw.get(place) != wanted.raw.get(place):
            yield place
    old, new = ({module.spec.name: module.isolation for module in it.modules} for it in (running, wanted))
    for name in {**old, **new}:
        if name not in old or name not in new:
            yield show_place(("modules", name))
        elif old[name] != new[name]:
            yield show_place(("modules", name, "isolation"))
