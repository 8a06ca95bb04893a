"""Somebody to ask where the node itself does not run: a bare node for a moment, with its links and its first contact.

It has the sections that the node's own configuration gives these roles, but no card, no namespace, a new identity, any
free port, and a folder that goes with it. It never enters the ring.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ipop_core.cli.launch import launch, wait_until_ready
from ipop_core.cli.template import fill_template
from ipop_core.config.build import Configuration, build
from ipop_core.errors import IpopError
from ipop_core.loader import Registry

ROLES: Final = frozenset({"link", "signal"})
"""What tells something about the network around this machine."""
STOP_LIMIT: Final = 10.0


@contextlib.contextmanager
def stand_in(configuration: Configuration) -> Iterator[Path]:
    """The run folder of one that is ready. Raises IpopError where none can be started."""
    folder = Path(tempfile.mkdtemp(prefix="ipop-doctor-"))
    try:
        path = folder / "controller.json"
        document = _document(configuration)
        path.write_text(json.dumps(document))
        made = build(document, path, Registry())
        process = launch(made)
        try:
            wait_until_ready(process, made.node.run)
            yield made.node.run
        finally:
            process.terminate()
            _wait(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _document(configuration: Configuration) -> dict[str, Any]:
    bare = fill_template("bare", {"node": "doctor", "port": 0, "bootstraps": None})
    own: Mapping[str, Any] = {
        module.spec.name: module.section for module in configuration.modules if module.spec.role in ROLES
    }
    if not own:
        raise IpopError("the configuration has no module that could look at the network")
    modules = {name: {**section, **bare["modules"].get(name, {})} for name, section in own.items()}
    return {"node": {**bare["node"], "state": "state", "run": "run"}, "modules": modules}


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
