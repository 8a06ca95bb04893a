"""The commands in docs/overlay.md are run as they stand."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = [line for line in (ROOT / "docs" / "overlay.md").read_text().splitlines() if line.startswith(".venv/")]


def test_there_are_some() -> None:
    assert len(COMMANDS) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_it_runs(command: str) -> None:
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, check=False, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert "nodes" in done.stdout
