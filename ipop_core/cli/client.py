"""How a subcommand talks to a running controller; modules' own subcommands use this too.

For example:

    @click.command()
    @click.argument("address")
    @output.json_option
    @click.pass_context
    def resolve(ctx: click.Context, address: str, as_json: bool) -> None:
        reply = client.ask(ctx, "topology", "resolve", {"address": address})
        ...

An IpopError that leaves a command is shown as `ipop: <line>`; the exit code is 2 for a ConfigError, 3 where no
controller runs, otherwise 1.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ipop_core import folders, pidfile
from ipop_core.errors import BusError, ConfigError, IpopError

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus, JsonObject, Reply

T = TypeVar("T")


class NoControllerError(IpopError):
    """Nobody to talk to."""

    exit_code = 3


@dataclass(frozen=True)
class Target:
    """Which node is meant: the options of `ipop` itself."""

    node: str | None = None
    config: Path | None = None

    @property
    def name(self) -> str:
        return folders.check_node_name(self.node or "default")


def target(ctx: click.Context) -> Target:
    found = ctx.find_object(Target)
    return found or Target()


def run_folder(ctx: click.Context) -> Path:
    """The run folder of the running node that is meant. Raises NoControllerError, or ConfigError when several run."""
    wanted = target(ctx)
    if wanted.config is not None:
        # Imported here: reading a configuration costs a tenth of a second of imports.
        from ipop_core.config.build import read_node  # noqa: PLC0415

        run, start = read_node(wanted.config).run, f"ipop -c {wanted.config} up"
    elif wanted.node is not None:
        run, start = folders.run_folder(wanted.node), f"ipop --node {wanted.node} up NAMESPACE ADDRESS"
    else:
        running = folders.running_nodes()
        if len(running) > 1:
            raise ConfigError("--node", f"several nodes run here, choose one: {', '.join(running)}")
        run, start = folders.run_folder(running[0] if running else "default"), "ipop up NAMESPACE ADDRESS"
    if pidfile.holder(run) is None:
        raise NoControllerError(f"no controller is running; start it with: {start}")
    return run


def with_bus(ctx: click.Context, work: Callable[[Bus], Awaitable[T]]) -> T:
    """Run `work` with the bus of the running controller. Raises NoControllerError, BusError."""
    return asyncio.run(on_bus(run_folder(ctx), work))


async def on_bus(run: Path, work: Callable[[Bus], Awaitable[T]]) -> T:
    """As `with_bus`, for a run folder."""
    # Imported here: `ipop --help` and `ipop init` need no bus.
    from ipop_core.bus.contracts import load  # noqa: PLC0415
    from ipop_core.bus.zeromq import connect_client  # noqa: PLC0415

    async with contextlib.AsyncExitStack() as stack:
        try:
            bus = await stack.enter_async_context(connect_client(folders.bus_socket(run), load()))
        except BusError:
            raise
        except IpopError as error:
            raise NoControllerError(str(error)) from None
        return await work(bus)


def ask(ctx: click.Context, role: str, action: str, body: JsonObject | None = None, *, timeout: float = 5.0) -> Reply:
    """Ask the module that fills `role` in the running controller; `timeout` in seconds. Raises as `with_bus`."""

    async def work(bus: Bus) -> Reply:
        return await bus.request(role, action, body, timeout=timeout)

    return with_bus(ctx, work)
