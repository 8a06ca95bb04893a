"""The contract between the hall and a module: what a module says of itself, and what it is given.

A package offers a module by an entry point of the group `ipop.modules` whose object is a Python module (or object)
with hooks marked by `hookimpl`. Importing it must be cheap: the factory and the settings are named by strings and
imported in the module's own process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, runtime_checkable

import pluggy

if TYPE_CHECKING:
    import click

    from ipop_core.bus.api import Bus, JsonObject
    from ipop_core.identity import Identity
    from ipop_core.namespace import Namespace
    from ipop_core.supervision.descriptors import DescriptorStore

CONTRACT_VERSION: Final = 1
ENTRY_POINT_GROUP: Final = "ipop.modules"

hookspec = pluggy.HookspecMarker("ipop")
hookimpl = pluggy.HookimplMarker("ipop")


@dataclass(frozen=True, kw_only=True)
class ModuleSpec:
    """What a module says of itself."""

    name: str
    """The key of its section in the configuration, e.g. `tincan`."""
    contract: int
    """The CONTRACT_VERSION that it was written for."""
    role: str
    """The role that it fills: `link`, `topology`, `signal`, `crypto`, `logger`, or a new one."""
    needs: tuple[str, ...] = ()
    """Roles that must be filled, and are started before it."""
    guards: tuple[str, ...] = ()
    """Roles that let no traffic pass before this module has answered their request `guard`."""
    schema: Mapping[str, Any]
    """JSON schema (2020-12) of its section; `default` in it is what the person need not write."""
    settings: str
    """`package.module:Class` of the frozen dataclass that its section becomes."""
    factory: str
    """`package.module:callable` that takes a ModuleContext and returns a Module."""
    messages: Sequence[Mapping[str, Any]] = ()
    """Contracts of its bus messages, where `schemas/messages/` has none for its role."""
    inline: bool = False
    """Runs in the controller's process unless the configuration's `isolation` says otherwise."""
    live: tuple[str, ...] = ()
    """Keys of its section that it can take while it runs; its Module is then a Reconfigurable."""
    preload: tuple[str, ...] = ()
    """Libraries to import once, before the module's process is forked."""
    event_loop: str | None = None
    """`package.module:callable` that makes the asyncio event loop of its process; None is asyncio's own."""


@dataclass(frozen=True, kw_only=True)
class ModuleContext:
    """What a module is given when it starts."""

    node_name: str
    identity: Identity
    namespace: Namespace | None
    """None on a bare overlay node."""
    settings: Any
    """An instance of the class that ModuleSpec.settings names."""
    bus: Bus
    descriptors: DescriptorStore
    """Descriptors put here outlive the module's process."""
    state: Path
    """A folder of the module's own that outlives everything; only the owner can read it."""
    run: Path
    """The node's folder for what lasts until the machine stops."""
    guards: tuple[str, ...] = ()
    """Roles whose action `guard` must have answered before this module lets traffic pass."""
    report_fault: Callable[[str], None] = field(default=lambda _: None)
    """Says one line to the operator at start: a fault that the module works around or waits out."""


Verdict = Literal["good", "warning", "bad", "unknown"]
"""`warning`: it works, but less well than it could; `unknown`: it could not be found out."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found out about one thing that a node needs of its machine."""

    check: str
    """What was looked at, in a word or two."""
    verdict: Verdict
    found: str
    """One line."""
    mend: str = ""
    """The command or the setting that mends it, where it is not good."""


class Ask(Protocol):
    def __call__(self, role: str, action: str, body: JsonObject | None = None) -> JsonObject | None:
        """The answer of whoever fills the role; None where it gives none."""
        ...


@dataclass(frozen=True, kw_only=True)
class CheckContext:
    """What a module's checks are given."""

    node_name: str
    settings: Any
    """An instance of the class that ModuleSpec.settings names."""
    running: bool
    """The node runs. Otherwise a bare node with a new identity runs in its place, where that could be started."""
    ask: Ask


class Module(Protocol):
    async def start(self) -> None:
        """Return once the module serves its actions. An IpopError stops the controller with its one line."""
        ...

    async def stop(self) -> None:
        """Let go of everything; the process ends when it returns, or two seconds later."""
        ...


class Reconfigurable(Module, Protocol):
    """A module whose ModuleSpec names `live` keys."""

    async def reconfigure(self, settings: Any) -> None:
        """Take new settings, which differ from the old ones in live keys alone, and drop no link for it.

        An IpopError refuses them; then the old ones must still be in force.
        """
        ...


@runtime_checkable
class NamespaceBound(Protocol):
    """Settings that may need a namespace, which their own section doesn't say."""

    def check_namespace(self, namespace: str | None) -> None:
        """Raise ConfigError where the node's namespace will not do; None: it has none, as a bare overlay node."""
        ...


class Hooks:
    """Every hook that a module may implement."""

    @hookspec
    def ipop_module(self) -> ModuleSpec:  # type: ignore[empty-body]  # a specification has no body
        """Say what the module is."""

    @hookspec
    def ipop_commands(self) -> Sequence[click.Command]:  # type: ignore[empty-body]
        """Bring subcommands for `ipop`; click may be imported here and not above."""

    @hookspec
    def ipop_checks(self, context: CheckContext) -> Sequence[Finding]:  # type: ignore[empty-body]
        """Find out for `ipop doctor` whether this machine gives what the module, as it is configured, needs.

        It runs in the command's own process, with the rights of whoever calls it, and may take a few seconds.
        """

    @hookspec
    def ipop_leftovers(self, card: str) -> Sequence[Finding]:  # type: ignore[empty-body]
        """Say what an earlier run of this module left on this machine that still acts on the virtual card's traffic.

        Called for a running node that is configured without the module, by `ipop status` and `ipop doctor`.
        """

    @hookspec
    def ipop_handed_over(self, card: str) -> None:
        """Take away what an earlier run of this module left on this machine that acts on the virtual card's traffic.

        Called when another module of the same role guards the card from now on; see `Registry.hand_over`.
        """

    @hookspec
    def ipop_process_started(self, process: str, settings: Mapping[str, Any], run: Path) -> None:
        """Observe the start of a process of this node, in that process, before anything else of it runs.

        `process` is the module's name or `controller`; `settings` the whole validated configuration,
        `run` the node's run folder. The logger sets up logging here.
        """
