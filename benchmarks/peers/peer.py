"""What the benchmark asks of a VPN: its name, whether it is there, and a tunnel between the two sides of a stage."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from benchmarks.stage import Side, Stage

INNER: Final[Mapping[str, str]] = {"left": "10.98.0.2", "right": "10.98.0.3", "middle": "10.98.0.1"}
"""The addresses inside the tunnel, where a peer lets one choose."""


@dataclass(frozen=True)
class Tunnel:
    """A tunnel that was started. Its processes end with the stage; `stop` is for what would outlive them."""

    left: str
    """The left side's address inside."""
    right: str
    card: str
    """The name of the card on the left side."""
    configuration: str
    """Every setting that is not the peer's own default, in one line."""
    settled: Callable[[], bool] = lambda: True
    """Whether the traffic takes the way that is to be measured; asked once a ping has come through."""
    stop: Callable[[], None] = lambda: None


class Peer(Protocol):
    name: str
    packages: tuple[str, ...]
    """What to install: Debian's packages, or `pip:NAME`."""
    relays: bool
    """Whether a node in the middle can carry traffic between two that cannot reach each other."""

    def installed(self) -> bool: ...

    def version(self) -> str: ...

    def start(self, stage: Stage) -> Tunnel:
        """Start it on every computer of the stage. Raises LabError."""
        ...


def available(*commands: str) -> bool:
    """Whether all these commands are there."""
    return all(find(command) for command in commands)


def find(command: str) -> str | None:
    return shutil.which(command) or shutil.which(command, path="/usr/sbin:/sbin")


def debian_version(package: str) -> str:
    """The installed version of a Debian package, as the distribution names it; empty when it is not known."""
    done = subprocess.run(["dpkg-query", "-W", "-f=${Version}", package], check=False, capture_output=True, text=True)
    return done.stdout.strip()


def printed_version(*command: str) -> str:
    """The first thing that looks like a version in what a command prints."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    found = re.search(r"\d+\.\d+[\w.+~-]*", done.stdout + done.stderr)
    return found[0] if found else ""


def write(folder: Path, name: str, text: str) -> Path:
    """Write a configuration file for its owner alone and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def launch(side: Side, *command: str) -> subprocess.Popen[bytes]:
    """Start a peer's program on one computer; what it prints goes to the file `log` in the side's folder."""
    with (side.folder / "log").open("ab") as log:
        return side.namespace.popen(command, stdout=log, stderr=log, cwd=side.folder)
