"""Where a node's things lie: its state (outlives everything) and its run folder (lasts until the machine stops).

For root /var/lib/ipop/NAME and /run/ipop/NAME; for others the folders of the XDG base directory specification.
IPOP_STATE_ROOT and IPOP_RUN_ROOT stand in for the folders above NAME.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from ipop_core.errors import ConfigError
from ipop_core.files import private_folder
from ipop_core.pidfile import holder

NODE_NAME: Final = re.compile(r"[a-z0-9-]{1,40}")
SERVICE_FOLDER: Final = Path("/etc/ipop")
"""Holds NAME.json for each node that runs as a service."""
LONGEST_SOCKET_PATH: Final = 106
"""Bytes; the kernel's sockaddr_un takes 107 and a final zero."""


def check_node_name(name: str) -> str:
    if not NODE_NAME.fullmatch(name):
        raise ConfigError("node", f"{name!r} is not a node's name: 1 to 40 of a-z, 0-9 and -")
    return name


def state_root() -> Path:
    if given := os.environ.get("IPOP_STATE_ROOT"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/ipop")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "ipop"


def run_root() -> Path:
    if given := os.environ.get("IPOP_RUN_ROOT"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/run/ipop")
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "ipop"
    return _shared_run_root()


def _shared_run_root() -> Path:
    return Path(f"/tmp/ipop-{os.geteuid()}")  # noqa: S108 - make_run_folder checks who made it


def state_folder(name: str) -> Path:
    return state_root() / check_node_name(name)


def run_folder(name: str) -> Path:
    return run_root() / check_node_name(name)


def make_run_folder(run: Path) -> Path:
    """Make a node's run folder, for its owner alone."""
    if run.parent == _shared_run_root():
        private_folder(run.parent)
    return private_folder(run)


def bus_socket(run: Path) -> Path:
    """The controller's end of the bus. Raises ConfigError where the kernel would refuse so long a path."""
    path = run / "bus.sock"
    size = len(os.fsencode(path.absolute()))
    if size > LONGEST_SOCKET_PATH:
        fault = f"{path} is {size} bytes long, and a socket's path has at most {LONGEST_SOCKET_PATH}; use a shorter one"
        raise ConfigError("node.run", fault)
    return path


def running_nodes() -> list[str]:
    """Names of the nodes below the run root whose controller is alive, sorted."""
    try:
        folders = sorted(run_root().iterdir())
    except OSError:
        return []
    return [folder.name for folder in folders if NODE_NAME.fullmatch(folder.name) and holder(folder) is not None]
