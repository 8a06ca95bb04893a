"""`ipop-controller`: runs one node in the foreground."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import sys
from pathlib import Path
from typing import Final

import click

from ipop_core.bus import contracts
from ipop_core.config import load, print_schema, read_document
from ipop_core.controller.capable import check_guards
from ipop_core.controller.controller import PROCESS, Controller
from ipop_core.controller.service_manager import ServiceManager
from ipop_core.errors import ConfigError, IpopError
from ipop_core.files import private_folder
from ipop_core.folders import make_run_folder
from ipop_core.identity import load_or_create
from ipop_core.loader import Registry
from ipop_core.namespace import build_namespace
from ipop_core.pidfile import PidFile
from ipop_core.supervision import child
from ipop_core.supervision.nursery import Nursery
from ipop_core.supervision.runtime import Runtime

FAULT_STATUS: Final = 2
NODE_VARIABLE: Final = "IPOP_NODE"
"""Names the node that a service unit is for."""


@click.command()
@click.option(
    "-c", "--config", "path", type=click.Path(path_type=Path, dir_okay=False), help="The node's configuration file."
)
@click.option("--check", is_flag=True, help="Validate the configuration and stop.")
@click.option("--print-schema", "schema", is_flag=True, help="Print the whole schema of a configuration and stop.")
@click.version_option(package_name="ipop")
def main(path: Path | None, check: bool, schema: bool) -> None:
    """Run one IPOP node in the foreground, until SIGTERM or Ctrl-C."""
    gc.disable()  # what is imported stays, and pages that nobody writes to are shared with the modules' processes
    try:
        if schema:
            _print_schema(path)
        elif path is None:
            raise ConfigError("-c", "which configuration? e.g. ipop-controller -c controller.json")
        elif check:
            _check(path)
        else:
            _run(path)
    except IpopError as error:
        click.echo(str(error), err=True)
        sys.exit(FAULT_STATUS)


def _print_schema(path: Path | None) -> None:
    registry = Registry()
    names = list(read_document(path).get("modules", {})) if path else registry.installed()
    click.echo(print_schema(registry, names))


def _check(path: Path) -> None:
    registry = Registry()
    configuration = load(path, registry)
    contracts.load(module.spec.messages for module in configuration.modules).verify()
    if configuration.namespace is not None:
        build_namespace(configuration.namespace)
    configuration.check_settings()
    check_guards(configuration, registry)
    names = ", ".join(module.spec.name for module in configuration.modules)
    count = len(configuration.modules)
    node = configuration.node
    click.echo(
        f"{path} is valid: {count} module{'' if count == 1 else 's'} ({names}), node {node.name}, run {node.run}"
    )


def _run(path: Path) -> None:
    """Everything is imported and read before the fork, so that every process of the node shares it."""
    registry = Registry()
    manager = ServiceManager(os.environ)
    configuration = load(path, registry)
    node = configuration.node
    _check_name(node.name, path)
    pid_file = PidFile(make_run_folder(node.run))
    runtime = Runtime(
        configuration=configuration,
        registry=registry,
        identity=load_or_create(private_folder(node.state)),
        namespace=None if configuration.namespace is None else build_namespace(configuration.namespace),
        contracts=contracts.load(module.spec.messages for module in configuration.modules),
    )
    preload = [library for module in configuration.modules for library in module.spec.preload]
    nursery = Nursery(preload, functools.partial(child.run, runtime), pid_file.close)
    gc.enable()
    runtime.announce_process(PROCESS)

    async def run() -> None:
        await Controller(runtime, nursery, manager).run()

    asyncio.run(run())


def _check_name(name: str, path: Path) -> None:
    """An instance of the service has the folders of one node, and can't run another."""
    expected = os.environ.get(NODE_VARIABLE, name)
    if name != expected:
        fault = f'is "{name}" in {path}, but the service that starts it is for the node "{expected}"'
        raise ConfigError("node.name", fault)


if __name__ == "__main__":
    main()
