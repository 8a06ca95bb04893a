"""Running the system's tools (ip, nft, nsenter), with what they printed in the error when they fail."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence

from ipop_core.lab.errors import LabError, LabTimeoutError

Command = Sequence[str | os.PathLike[str]]


def environment() -> dict[str, str]:
    """The environment of this process, with the folders of ip and nft on the path: an ordinary user's lacks them."""
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PATH": f"{path}:/usr/sbin:/sbin"}


def run(
    command: Command, *, check: bool = True, timeout: float = 30.0, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end and return its exit code and text output.

    Raises LabError when it is missing or, with `check`, when it fails; LabTimeoutError after `timeout` seconds.
    """
    try:
        done = subprocess.run(
            command, check=False, timeout=timeout, input=stdin, capture_output=True, text=True, env=environment()
        )
    except FileNotFoundError as error:
        raise LabError(f"{error.filename}: command not found") from error
    except subprocess.TimeoutExpired as error:
        raise LabTimeoutError(f"{_shown(command)}: not done after {timeout:g} s") from error
    if check and done.returncode != 0:
        printed = (done.stderr + done.stdout).strip() or "it printed nothing"
        raise LabError(f"{_shown(command)}: exit code {done.returncode}: {printed}" + _input_shown(stdin))
    return done


def _shown(command: Command) -> str:
    return shlex.join(os.fspath(word) for word in command)


def _input_shown(stdin: str) -> str:
    return f"\nits input was:\n{stdin.rstrip()}" if stdin else ""
