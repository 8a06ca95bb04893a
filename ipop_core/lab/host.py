"""A computer in the laboratory: a namespace with a card on a segment."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import IO, Any

from ipop_core.lab.commands import Command
from ipop_core.lab.namespace import Namespace
from ipop_core.lab.segment import Attachment, Segment


@dataclass(frozen=True)
class Host:
    name: str
    namespace: Namespace
    segment: Segment
    attachment: Attachment

    @property
    def address(self) -> str:
        """Its IPv4 address on its segment."""
        return self.attachment.address

    @property
    def address6(self) -> str | None:
        """Its IPv6 address on its segment, None where the segment has none."""
        return self.attachment.address6

    @property
    def interface(self) -> str:
        """The name of its card."""
        return self.attachment.interface

    def run(
        self, command: Command, *, check: bool = True, timeout: float = 30.0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` on it to its end; see `Namespace.run`."""
        return self.namespace.run(command, check=check, timeout=timeout, stdin=stdin)

    def popen(
        self,
        command: Command,
        *,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        env: dict[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start `command` on it; see `Namespace.popen`."""
        return self.namespace.popen(command, stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=cwd)
