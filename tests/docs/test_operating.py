"""The commands in docs/operating.md and docs/clouds.md are run as they stand, with a node called `work`."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BIN = Path(sys.executable).parent


def commands(name: str) -> list[str]:
    """Lines of code blocks that begin with `$ ipop`."""
    return [line[2:] for line in (DOCS / name).read_text().splitlines() if line.startswith("$ ipop")]


def environment(folder: Path) -> dict[str, str]:
    (folder / "site.json").write_text("{}")
    return {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "IPOP_STATE_ROOT": str(folder / "state"),
        "IPOP_RUN_ROOT": str(folder / "run"),
        "IPOP_SITE": str(folder / "site.json"),
    }


@contextlib.contextmanager
def node(folder: Path) -> Iterator[None]:
    """A bare node `work`, with its configuration where `ipop up` keeps it and in `work.json`."""
    env = environment(folder)
    subprocess.run(["ipop", "--node", "work", "up", "--bare", "--port", "0"], env=env, check=True, capture_output=True)
    (folder / "work.json").write_bytes((folder / "state/work/controller.json").read_bytes())
    try:
        yield
    finally:
        subprocess.run(["ipop", "--node", "work", "down"], env=env, check=True, capture_output=True)


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment(folder),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.slow
def test_operating(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    found = commands("operating.md")
    assert len(found) >= 9
    with node(tmp_path):
        for command in found:
            done = run(command, tmp_path)
            words = shlex.split(command)
            # A node that is alone is nothing to be content with, and these two say so.
            allowed = (0, 1) if words[-1] in ("doctor", "status") else (0,)
            assert done.returncode in allowed, f"{command}\n{done.stdout}{done.stderr}"
            assert "Traceback" not in done.stderr


def test_clouds(tmp_path: Path) -> None:
    for command in commands("clouds.md"):
        done = run(command, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert (tmp_path / "user-data").read_text().startswith("#cloud-config\n")
