"""Names that no other run of a laboratory on this machine has, and that tell whose they are."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ipop_core.lab.errors import LabError

_PREFIX: Final = "ipoplab"
_OWNED: Final = re.compile(rf"({_PREFIX}-([0-9]+)-[0-9a-f]{{8}})(?:-.*)?")
_HOST: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@dataclass(frozen=True)
class RunName:
    """The common beginning of all names of one run, such as `ipoplab-4711-9c2f01ab`."""

    text: str
    pid: int

    @classmethod
    def of_this_process(cls) -> RunName:
        pid = os.getpid()
        return cls(f"{_PREFIX}-{pid}-{secrets.token_hex(4)}", pid)

    @classmethod
    def parse(cls, name: str) -> RunName | None:
        """The run that `name` belongs to, None when it is not a laboratory's."""
        found = _OWNED.fullmatch(name)
        return cls(found[1], int(found[2])) if found else None

    def of(self, host: str) -> str:
        """The name of one of this run's namespaces. Raises LabError for a host name that cannot be part of one."""
        if not _HOST.fullmatch(host):
            raise LabError(f"host name {host!r}: expected up to 32 of a-z, 0-9 and '-'")
        return f"{self.text}-{host}"

    def is_alive(self) -> bool:
        """Whether the process that made this run still exists."""
        return Path(f"/proc/{self.pid}").exists()
