"""Start a controller in the background, and wait until it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipop_core.cli.client import NoControllerError, on_bus
from ipop_core.errors import BusError, ConfigError, IpopError
from ipop_core.folders import bus_socket, make_run_folder

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus
    from ipop_core.config.build import Configuration

LOG_FILE: Final = "controller.log"
START_TIMEOUT: Final = 30.0
POLL: Final = 0.05
ASK_AGAIN: Final = 1.0
"""Seconds; the event is only published once, and a module may have to be restarted."""
SHOWN_LINES: Final = 20


class StartFailedError(IpopError):
    """The controller ended before it was ready; the text is what it said."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def launch(configuration: Configuration) -> subprocess.Popen[bytes]:
    """Start `ipop-controller` in a session of its own; what it prints goes to the run folder. Raises ConfigError."""
    log = make_run_folder(configuration.node.run) / LOG_FILE
    command = [_program(), "-c", str(configuration.path.absolute())]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=descriptor, stderr=descriptor, cwd="/", start_new_session=True
        )
    except OSError as error:
        raise ConfigError(command[0], f"can't be started: {error.strerror}") from None
    finally:
        os.close(descriptor)


def wait_until_ready(process: subprocess.Popen[bytes], run: Path) -> dict[str, Any]:
    """The core's `status` once every module is running. Raises StartFailedError."""
    deadline = time.monotonic() + START_TIMEOUT
    listening = bus_socket(run)
    while time.monotonic() < deadline:
        code = process.poll()
        if code is not None:
            raise StartFailedError(_last_lines(run) or f"the controller ended with code {code}", 2 if code == 2 else 1)
        if listening.exists():  # trying the bus before costs the controller more time than it saves
            try:
                return asyncio.run(on_bus(run, partial(_until_ready, process, deadline)))
            except (NoControllerError, BusError, TimeoutError):
                pass
        time.sleep(POLL)
    text = f"the controller runs (pid {process.pid}), but is not ready after {START_TIMEOUT:.0f} s"
    raise StartFailedError(f"{text}; see `ipop status` and {run / LOG_FILE}", 1)


async def _until_ready(process: subprocess.Popen[bytes], deadline: float, bus: Bus) -> dict[str, Any]:
    """The core's `status` once it is ready. Raises BusError, and TimeoutError when the process ends or time is up."""
    ready = asyncio.Event()
    await bus.subscribe("core.ready", lambda _: ready.set())
    while time.monotonic() < deadline:
        ready.clear()
        status = dict((await bus.request("core", "status", timeout=2)).body)
        if status["ready"]:
            return status
        again = time.monotonic() + ASK_AGAIN
        while not ready.is_set() and time.monotonic() < again:
            if process.poll() is not None:
                raise TimeoutError
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ready.wait(), POLL)
    raise TimeoutError


def _last_lines(run: Path) -> str:
    return "\n".join((run / LOG_FILE).read_text(errors="replace").splitlines()[-SHOWN_LINES:])


def _program() -> str:
    beside = Path(sys.executable).with_name("ipop-controller")
    found = str(beside) if beside.exists() else shutil.which("ipop-controller")
    if found is None:
        raise ConfigError("ipop-controller", "is not installed beside this Python, and not on PATH")
    return found
