"""The tutorial's commands, from its page, each run where the page says and in the page's order."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipop_core.lab import Host, Laboratory

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow, pytest.mark.timeout(300)]

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(\w+)\$ (.+?)(?:  # (.+))?$")
MACHINES = ("boot", "alice", "bob")
HERE = "one"
"""The machine of the demo, whose own tests run what the page says of it."""
FAILS = {"0": (1,), "nothing comes back": (1,), "may find something": (0, 1)}
BOOTSTRAP = "boot.example.org"
# Copies between the machines' folders, as scp between two machines would.
SCP = """#!/bin/sh
cp "$1" "../${2%:}/"
"""


def commands() -> Iterator[tuple[str, str, str]]:
    """Machine, command, and what the page says of its outcome."""
    for block in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        for line in block.splitlines():
            if line:
                found = COMMAND.fullmatch(line)
                assert found, f"{PAGE.name}: not a command: {line}"
                yield found[1], found[2], found[3] or ""


def test_every_command_of_the_tutorial() -> None:
    with Laboratory() as lab:
        public = lab.segment()
        hosts = {name: lab.host(name, public) for name in MACHINES}
        for name in MACHINES:
            (lab.folder / name).mkdir()
        scp = lab.folder / "bin" / "scp"
        scp.parent.mkdir()
        scp.write_text(SCP)
        scp.chmod(0o755)
        try:
            for machine, command, outcome in commands():
                if machine != HERE:
                    _run(lab, hosts, machine, command.replace(BOOTSTRAP, hosts["boot"].address), outcome)
        finally:
            for name, host in hosts.items():
                host.run(_shell(lab, name, "ipop down"), check=False, timeout=60)


def _run(lab: Laboratory, hosts: dict[str, Host], machine: str, command: str, outcome: str) -> None:
    done = hosts[machine].run(_shell(lab, machine, command), check=False, timeout=120)
    said = f"{machine}$ {command}  # {outcome}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"
    print(said)
    assert done.returncode in FAILS.get(outcome, (0,)), said


def _shell(lab: Laboratory, machine: str, command: str) -> list[str]:
    folder = lab.folder / machine
    path = f"{lab.folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
    roots = (f"IPOP_STATE_ROOT={folder}/state", f"IPOP_RUN_ROOT={folder}/run", f"XDG_CONFIG_HOME={folder}")
    return ["env", "-C", str(folder), f"PATH={path}", f"HOME={folder}", *roots, "sh", "-c", command]
