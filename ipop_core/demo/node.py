"""One node of the demo: its files, its programs and how it is stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, TypeVar

from ipop_core import pidfile
from ipop_core.cli.client import NoControllerError, on_bus
from ipop_core.cli.launch import LOG_FILE
from ipop_core.demo.errors import NodeError
from ipop_core.errors import BusError
from ipop_core.folders import bus_socket
from ipop_core.lab.commands import environment

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus

T = TypeVar("T")

SHOWN_LINES: Final = 15
POLL: Final = 0.05
PATIENCE: Final = 5.0
"""Seconds that a controller has to stop on SIGTERM."""
SLOWEST: Final = 60.0
"""Seconds for what takes a few on a machine that has nothing else to do."""


class Computer(Protocol):
    """Where programs run: a host of the laboratory, or this machine."""

    def popen(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]: ...


class Node:
    """`name` is what people call it, `configured` the name in its configuration, unique to this run."""

    def __init__(self, name: str, configured: str, computer: Computer, folder: Path) -> None:
        self.name = name
        self.configured = configured
        self.computer = computer
        self.folder = folder
        self.state = folder / "state" / configured
        self.run = folder / "run" / configured
        self.output = folder / "output"
        """What its programs print."""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str | os.PathLike[str]) -> subprocess.Popen[bytes]:
        """Run `command` with the node's folders; what it prints goes to `output`."""
        roots = {"IPOP_STATE_ROOT": str(self.folder / "state"), "IPOP_RUN_ROOT": str(self.folder / "run")}
        with self.output.open("ab") as output:
            env = {**environment(), **roots}
            self.process = self.computer.popen(command, stdout=output, stderr=output, env=env)
        return self.process

    async def ask(self, work: Callable[[Bus], Awaitable[T]], wanted: str = "answer", patience: float = SLOWEST) -> T:
        """Run `work` with the node's bus as soon as that is there. Raises NodeError after `patience` seconds."""
        fault = "no bus"
        try:
            async with asyncio.timeout(patience):
                while True:
                    self.check()
                    try:
                        if bus_socket(self.run).exists():
                            fault = f"no {wanted}"
                            return await on_bus(self.run, work)
                    except (NoControllerError, BusError) as error:
                        fault = str(error)
                    await asyncio.sleep(POLL)
        except TimeoutError:
            raise self.error(f"{fault} within {patience:g} s") from None

    def check(self) -> None:
        """Raise NodeError when the node's program has failed."""
        if self.process is not None and self.process.poll():
            raise self.error(f"its program ended with exit code {self.process.returncode}")

    def error(self, text: str) -> NodeError:
        return NodeError(f"{self.name}: {text}", self.log())

    def log(self) -> str:
        """The last lines that the node and its programs wrote."""
        written = (path for path in (self.output, self.run / LOG_FILE) if path.exists())
        lines = [line for path in written for line in path.read_text(errors="replace").splitlines()]
        return "\n".join(lines[-SHOWN_LINES:])


def stop(nodes: Iterable[Node]) -> None:
    """End the controllers, all at once and in good order, and what else was started for the nodes."""
    children = [node.process for node in nodes if node.process is not None]
    runs = [node.run for node in nodes]
    for child in children:
        child.terminate()
    _signal(runs, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while _alive(runs) or any(child.poll() is None for child in children):
        if time.monotonic() > deadline:
            _signal(runs, signal.SIGKILL)
            for child in children:
                child.kill()
        time.sleep(POLL)


def _alive(runs: Iterable[Path]) -> list[int]:
    return [pid for run in runs if (pid := pidfile.holder(run))]


def _signal(runs: Iterable[Path], number: signal.Signals) -> None:
    for pid in _alive(runs):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
