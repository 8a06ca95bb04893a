"""The unit, as systemd itself reads it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ipop_core.cli import init
from ipop_core.cli.main import cli
from ipop_core.controller.main import NODE_VARIABLE
from ipop_core.controller.main import main as controller

UNIT = Path(__file__).parents[2] / "packaging" / "systemd" / "ipop@.service"
MOST_EXPOSED = 3.0


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI"):
            pytest.fail("could not run: Debian's package systemd brings systemd-analyze")
        pytest.skip("no systemd-analyze")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    """The instance `work`, of the programs that are installed here."""
    path = tmp_path / "ipop@work.service"
    path.write_text(UNIT.read_text().replace("/usr/bin/", f"{Path(sys.executable).parent}/"))
    return path


def test_systemd_has_nothing_to_say_against_it(instance: Path) -> None:
    found = analyze("verify", "--man=no", str(instance))
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_what_a_break_in_would_expose(instance: Path) -> None:
    found = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}", str(instance))
    assert found.returncode == 0, found.stdout.splitlines()[-1]


def test_the_service_s_configuration_names_the_node_and_its_group_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init, "SERVICE_FOLDER", tmp_path)
    tmp_path.chmod(0o2750)
    path = tmp_path / "work.json"
    done = CliRunner().invoke(cli, ["init", "town", "10", "-o", str(path)])
    assert (done.exit_code, done.output.splitlines()[-1]) == (
        0,
        f"{path}: start it with: systemctl enable --now ipop@work",
    )
    assert json.loads(path.read_text())["node"] == {"name": "work"}
    assert path.stat().st_mode & 0o777 == 0o640
    odd = CliRunner().invoke(cli, ["init", "town", "10", "-o", str(tmp_path / "My Net.json")])
    assert odd.exit_code == 2
    assert "'My Net' is not a node's name" in odd.output


def test_a_service_does_not_run_another_instances_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "work.json"
    CliRunner().invoke(cli, ["--node", "lab", "init", "town", "10", "-o", str(path)])
    monkeypatch.setenv(NODE_VARIABLE, "work")
    done = CliRunner().invoke(controller, ["-c", str(path)])
    assert done.exit_code == 2
    assert done.output.strip() == (
        f'node.name: is "lab" in {path}, but the service that starts it is for the node "work"'
    )
