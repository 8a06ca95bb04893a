"""The tutorial's page as a script: each command is run on the machine that the page says, in the page's order."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ipop_core.lab import Laboratory, Segment

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
MACHINES = ("boot", "alice", "bob")
_BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^(\w+)\$ (.+?)(?:  # (.+))?$")
_HERE = "one"
"""The machine of the demo, whose own tests run what the page says of it."""
_FAILS = {"0": (1,), "nothing comes back": (1,), "may find something": (0, 1)}
_BOOTSTRAP = "boot.example.org"
# Copies between the machines' folders, as scp between two machines would.
_SCP = """#!/bin/sh
cp "$1" "../${2%:}/"
"""


class Command(NamedTuple):
    machine: str
    words: str
    outcome: str
    """What the page says of it."""


def commands(first: str = "", last: str = "") -> Iterator[Command]:
    """Those from the heading `first` on (or the page's top) to before the line `last` (or its end)."""
    text = PAGE.read_text(encoding="utf-8")
    begin = text.index(f"\n{first}\n") if first else 0
    end = text.index(f"\n{last}\n", begin) if last else len(text)
    for block in _BLOCK.findall(text, begin, end):
        for line in block.splitlines():
            if line:
                found = _COMMAND.fullmatch(line)
                assert found, f"{PAGE.name}: not a command: {line}"
                if found[1] != _HERE:
                    yield Command(found[1], found[2], found[3] or "")


class Machines:
    """The page's three machines, each with a folder of its own."""

    def __init__(self, lab: Laboratory, public: Segment, **environment: str) -> None:
        """`environment` of every command, besides that of the tests."""
        self._folder = lab.folder
        self._environment = environment
        self.hosts = {name: lab.host(name, public) for name in MACHINES}
        for name in MACHINES:
            (lab.folder / name).mkdir()
        scp = lab.folder / "bin" / "scp"
        scp.parent.mkdir()
        scp.write_text(_SCP)
        scp.chmod(0o755)

    def type(self, lines: Iterable[Command]) -> None:
        """Run these; each must end as the page says."""
        for machine, words, outcome in lines:
            command = words.replace(_BOOTSTRAP, self.hosts["boot"].address)
            done = self.hosts[machine].run(self._shell(machine, command), check=False, timeout=120)
            said = f"{machine}$ {command}  # {outcome}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"
            print(said)
            assert done.returncode in _FAILS.get(outcome, (0,)), said

    def output(self, machine: str, words: str) -> str:
        return self.hosts[machine].run(self._shell(machine, words)).stdout

    def leave(self) -> None:
        for machine, host in self.hosts.items():
            host.run(self._shell(machine, "ipop down"), check=False, timeout=60)

    def _shell(self, machine: str, command: str) -> list[str]:
        folder = self._folder / machine
        path = f"{self._folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
        roots = (f"IPOP_STATE_ROOT={folder}/state", f"IPOP_RUN_ROOT={folder}/run", f"XDG_CONFIG_HOME={folder}")
        more = (f"{key}={value}" for key, value in self._environment.items())
        return ["env", "-C", str(folder), f"PATH={path}", f"HOME={folder}", *roots, *more, "sh", "-c", command]
