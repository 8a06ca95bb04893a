"""The programs that the demo runs: this installation's own, and the system's."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from ipop_core.errors import IpopError
from ipop_core.lab.commands import environment

PACKAGES: Final = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "ping": "iputils-ping",
}
"""What the laboratory needs, and the Debian packages that bring it."""


def missing() -> str | None:
    """One line that names the programs that this machine lacks and how to get them; None where all are there."""
    path = environment()["PATH"]
    lacking = [program for program in PACKAGES if shutil.which(program, path=path) is None]
    if not lacking:
        return None
    packages = " ".join(sorted({PACKAGES[program] for program in lacking}))
    return f"not installed: {', '.join(lacking)}; on Debian: apt install {packages}"


def own(name: str) -> str:
    """The path of a program of this installation: `ipop` or `ipop-controller`. Raises IpopError."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise IpopError(f"{name} is not installed beside this Python, and not on PATH")
    return found
