"""`ipop init`: write a configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ipop_core.cli.client import target
from ipop_core.cli.wish import Wish, wish_options
from ipop_core.config.build import Configuration, build
from ipop_core.errors import ConfigError
from ipop_core.files import write_private
from ipop_core.folders import SERVICE_FOLDER, check_node_name
from ipop_core.loader import Registry


@click.command()
@wish_options
@click.option(
    "-o", "output", type=click.Path(path_type=Path), default=Path("controller.json"), metavar="FILE", show_default=True
)
@click.pass_context
def init(ctx: click.Context, /, output: Path, force: bool, **wish: Any) -> None:
    """Write a configuration for NAMESPACE and ADDRESS.

    ADDRESS is a last byte (10 for 192.168.10.10/24), or a whole address with or without a prefix length.
    With -o /etc/ipop/NAME.json the node is called NAME, and runs as the service ipop@NAME.
    """
    service = _service(output)
    wanted = target(ctx)
    document = Wish(**wish).document(service if service and wanted.node is None else wanted.name)
    configuration = build(document, output, Registry())
    configuration.check_settings()
    if not write_document(output, document, force=force):
        raise ConfigError(str(output), "exists already; --force replaces it, -o FILE writes another one")
    say_what_it_means(configuration)
    start = f"systemctl enable --now ipop@{service}" if service else f"ipop-controller -c {output}"
    click.echo(f"{output}: start it with: {start}")


def write_document(path: Path, document: Mapping[str, Any], *, force: bool) -> bool:
    """Write the configuration; False when there is one already."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return write_private(path, text.encode(), replace=force, shared=True)


def _service(path: Path) -> str | None:
    """The node that a service runs with this file. Raises ConfigError for a name that none can have."""
    if path.absolute().parent != SERVICE_FOLDER or path.suffix != ".json":
        return None
    return check_node_name(path.stem)


def say_what_it_means(configuration: Configuration) -> None:
    """Warn, on stderr, of what a person may not expect."""
    namespace = configuration.namespace
    if namespace is None:
        return
    if namespace.secret is not None:
        click.echo(
            f"note: every member of {namespace.name} needs the same secret: copy `namespace` out of this configuration",
            err=True,
        )
    elif namespace.passphrase is None and namespace.authority is None:
        click.echo(
            f"warning: the namespace {namespace.name} is open: whoever knows its name can join it; --secret closes it",
            err=True,
        )
