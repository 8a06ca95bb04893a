"""What the operator sees of a module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ipop_core.clock import boot_clock, unix_time_of
from ipop_core.config import ConfiguredModule

State = Literal["starting", "running", "restarting", "stopped"]


@dataclass(frozen=True)
class Operator:
    """Who is told of what happens to modules."""

    changed: Callable[[str, State], None]
    """A module's name and its new state."""
    say: Callable[[str], None]
    """One line for a person."""


@dataclass
class ModuleState:
    """One module's state; `since` is a moment of the boot clock."""

    configured: ConfiguredModule
    changed: Callable[[str, State], None]
    state: State = "starting"
    pid: int | None = None
    restarts: int = 0
    since: float = field(default_factory=boot_clock)

    @property
    def runs(self) -> bool:
        return self.state == "running"

    def become(self, state: State) -> None:
        if state == self.state:
            return
        self.state = state
        self.since = boot_clock()
        self.changed(self.configured.spec.name, state)

    def show(self) -> dict[str, Any]:
        """As the action `core.status` answers it."""
        return {
            "name": self.configured.spec.name,
            "role": self.configured.spec.role,
            "pid": self.pid,
            "state": self.state,
            "restarts": self.restarts,
            "since": unix_time_of(self.since),
            "isolation": self.configured.isolation,
        }
