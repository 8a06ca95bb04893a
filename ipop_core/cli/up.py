"""`ipop up`: configure this machine's node, start it, and say what came up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ipop_core import folders, pidfile
from ipop_core.cli.client import Target, on_bus, target
from ipop_core.cli.init import say_what_it_means, write_document
from ipop_core.cli.launch import POLL, launch, wait_until_ready
from ipop_core.cli.output import print_facts
from ipop_core.cli.status import card_line
from ipop_core.cli.wish import Wish, wish_options
from ipop_core.config.build import Configuration, build, load
from ipop_core.config.document import read_document
from ipop_core.errors import BusError, ConfigError
from ipop_core.files import private_folder
from ipop_core.loader import Registry

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus, JsonObject

CONFIGURATION_FILE = "controller.json"
CARD_PATIENCE = 5.0


@click.command()
@wish_options
@click.pass_context
def up(ctx: click.Context, /, force: bool, **wish: Any) -> None:
    """Join NAMESPACE with ADDRESS: write this machine's configuration, and start the node in the background.

    Without arguments the node starts with the configuration that it has. ADDRESS is as in `ipop init`.
    """
    wanted = target(ctx)
    if not any(wish.values()):
        configuration = load(_existing(wanted), Registry())
        configuration.check_settings()
    elif wanted.config is not None:
        raise click.UsageError("-c FILE starts with that configuration; leave the other arguments out")
    else:
        configuration = _configure(wanted, Wish(**wish), force=force)
    say_what_it_means(configuration)
    run = configuration.node.run
    if pidfile.holder(run) is None:
        status = wait_until_ready(launch(configuration), run)
    else:
        click.echo("is up already", err=True)
        status = {}
    print_facts(asyncio.run(on_bus(run, lambda bus: _what_came_up(bus, status))))


def _existing(wanted: Target) -> Path:
    path = wanted.config or folders.state_folder(wanted.name) / CONFIGURATION_FILE
    if wanted.config is None and not path.exists():
        raise ConfigError(str(path), "there is no configuration yet; give NAMESPACE and ADDRESS")
    return path


def _configure(wanted: Target, wish: Wish, *, force: bool) -> Configuration:
    """Write the configuration into the node's state folder, unless the same is there already."""
    path = folders.state_folder(wanted.name) / CONFIGURATION_FILE
    document = wish.document(wanted.name)
    old = read_document(path) if path.exists() and not force else None
    if old is not None:
        _keep_secret(document, old)
    configuration = build(document, path, Registry())
    configuration.check_settings()
    if old == document:
        return configuration
    if old is not None:
        difference = ", ".join(sorted(_differences(old, document)))
        fault = f"the node {wanted.name} has another configuration ({difference}); --force replaces it"
        raise ConfigError(str(path), fault)
    if (pid := pidfile.holder(configuration.node.run)) is not None:
        raise ConfigError(str(path), f"the node runs (pid {pid}) with its old configuration; first: ipop down")
    write_document(private_folder(path.parent) / path.name, document, force=True)
    return configuration


def _keep_secret(document: dict[str, Any], old: Mapping[str, Any]) -> None:
    """Saying `up --secret` again means the secret that is there."""
    new, kept = document.get("namespace"), old.get("namespace")
    if isinstance(new, dict) and isinstance(kept, dict) and new["name"] == kept.get("name"):
        document["namespace"] = kept


def _differences(old: Any, new: Any, place: str = "") -> list[str]:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [place]
    keys = sorted({*old, *new})
    return [item for key in keys for item in _differences(old.get(key), new.get(key), f"{place}.{key}".lstrip("."))]


async def _what_came_up(bus: Bus, status: Mapping[str, Any]) -> list[tuple[str, object]]:
    status = status or (await bus.request("core", "status")).body
    facts: list[tuple[str, object]] = [("node", status["node"]), ("namespace", status["namespace"])]
    try:
        facts.append(("card", card_line(await _card(bus))))
    except BusError as error:
        facts.append(("card", error.message))
    return facts


async def _card(bus: Bus) -> JsonObject:
    """What the link module says of its card, as soon as that is up."""
    deadline = time.monotonic() + CARD_PATIENCE
    while True:
        body = (await bus.request("link", "status")).body
        if body.get("card") is None or body["card"].get("up", True) or time.monotonic() > deadline:
            return body
        await asyncio.sleep(POLL)
