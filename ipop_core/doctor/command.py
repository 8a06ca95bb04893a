"""`ipop doctor`: what is wrong, and how to mend it."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Final

import click

from ipop_core import folders
from ipop_core.cli.client import Target, target
from ipop_core.cli.output import json_option, print_json, print_table
from ipop_core.cli.up import CONFIGURATION_FILE
from ipop_core.cli.wish import Wish
from ipop_core.contract import Finding
from ipop_core.doctor.examination import Examination
from ipop_core.errors import ConfigError

EXAMPLE: Final = Wish(
    namespace="example", address="1", bootstraps=(), secret=False, bare=False, port=None, card=None, template=None
)
"""What a machine is judged by that has no configuration yet."""


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check what a node needs of this machine, and say how to mend what is wrong.

    Works with a running node and without one; without a configuration it checks for that of `ipop init`. Exit code 1
    when something is bad.
    """
    with tempfile.TemporaryDirectory(prefix="ipop-doctor-") as scratch:
        path = configuration_of(target(ctx))
        if path is None:
            path = Path(scratch) / "example.json"
            path.write_text(json.dumps(EXAMPLE.document("example")))
        examination = Examination(path)
        findings = list(examination.findings())
    if as_json:
        print_json({"running": examination.running, "findings": [dataclasses.asdict(item) for item in findings]})
    else:
        _print(findings)
    if any(item.verdict == "bad" for item in findings):
        ctx.exit(1)


def configuration_of(wanted: Target) -> Path | None:
    """The configuration of the node that is meant: `up` and the service keep it in a known place; None: none yet."""
    if wanted.config is not None:
        return wanted.config
    names = [wanted.name] if wanted.node is not None else folders.running_nodes() or [wanted.name]
    if len(names) > 1:
        raise ConfigError("--node", f"several nodes run here, choose one: {', '.join(names)}")
    places = [folders.state_folder(names[0]) / CONFIGURATION_FILE, folders.SERVICE_FOLDER / f"{names[0]}.json"]
    found = next((path for path in places if path.exists()), None)
    if found is None and wanted.node is not None:
        raise ConfigError(f"--node {wanted.node}", f"there is neither {places[0]} nor {places[1]}; -c FILE names it")
    return found


def _print(findings: list[Finding]) -> None:
    print_table(("check", "verdict", "found"), [(item.check, item.verdict, item.found) for item in findings])
    mends: dict[str, list[str]] = {}
    for item in findings:
        if item.mend and item.verdict != "good":
            mends.setdefault(item.mend, []).append(item.check)
    for mend, checks in mends.items():
        click.echo(f"to mend {', '.join(dict.fromkeys(checks))}: {mend}")
