"""`ipop down`: stop the node."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ipop_core import pidfile
from ipop_core.cli.client import NoControllerError, on_bus, run_folder
from ipop_core.errors import BusError, IpopError

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus

STOP_TIMEOUT: Final = 15.0
POLL: Final = 0.02


@click.command()
@click.option("--keep-card", is_flag=True, help="Leave the virtual card, with its address, for the next start.")
@click.pass_context
def down(ctx: click.Context, keep_card: bool) -> None:
    """Stop the node, and remove its card."""
    run = run_folder(ctx)
    card = None if keep_card else _card_name(run)
    _stop(run)
    if card is not None:
        _remove_card(card)
    click.echo("stopped" if card is None else f"stopped, and removed {card}")


def _stop(run: Path) -> None:
    pid = pidfile.holder(run)
    if pid is None:
        return
    if pid == 0:
        raise IpopError("the controller is just starting; try again")
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise IpopError(f"the controller (pid {pid}) belongs to another user") from None
    deadline = time.monotonic() + STOP_TIMEOUT
    while pidfile.holder(run) is not None:
        if time.monotonic() > deadline:
            raise IpopError(f"the controller (pid {pid}) did not stop within {STOP_TIMEOUT:.0f} s")
        time.sleep(POLL)


def _card_name(run: Path) -> str | None:
    """The kernel's name of the running node's card; None where it has none."""

    async def work(bus: Bus) -> str | None:
        card = (await bus.request("link", "status")).body.get("card")
        return str(card["name"]) if card else None

    try:
        return asyncio.run(on_bus(run, work))
    except (BusError, NoControllerError) as error:
        click.echo(f"the card stays: can't tell which one it is ({error})", err=True)
        return None


def _remove_card(name: str) -> None:
    # Imported here: it costs a quarter of a second, and no other command needs it.
    from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415

    try:
        with IPRoute() as route:
            for index in route.link_lookup(ifname=name, kind="tun"):
                route.link("del", index=index)
    except NetlinkError as error:
        raise IpopError(f"{name}: stopped, but the card can't be removed: {error}") from None
