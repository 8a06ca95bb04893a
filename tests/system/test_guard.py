"""A module that guards the card, in real nodes: no card comes up and no packet passes before it has answered."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from ipop_core.lab import Laboratory
from tests.system.node import Node
from tests.system.overlay import Overlay

pytestmark = [pytest.mark.net, pytest.mark.slow]

GUARD = Path(__file__).with_name("guard")
LONGER_THAN_A_CARD_WAITS = 2.5
"""Seconds; without a guard the card is up after one."""


@pytest.fixture
def guarded(lab: Laboratory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    info = tmp_path / "ipop_guard-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ipop-guard\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ipop.modules]\ngate = ipop_guard\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{GUARD}")
    public = lab.segment()
    overlay = Overlay(lab, public, bare_nodes=1, prefix="beacon")
    overlay.start()
    gate = {"gate": str(tmp_path / "gate")}
    return overlay.member("guarded", lab.host("guarded", public), "192.168.77.10/24", gate=gate)


def test_no_card_before_its_guard_has_answered(guarded: Node, tmp_path: Path) -> None:
    guarded.start()
    guarded.until("core", "status", lambda body: body["ready"], "core.module", timeout=30.0)
    deadline = time.monotonic() + LONGER_THAN_A_CARD_WAITS
    while time.monotonic() < deadline:
        assert not is_up(guarded)
        time.sleep(0.05)
    # Who asks is told, and so is the log, which nobody had to ask.
    why = "its guard, the role crypto, has not answered yet"
    status, doctor = guarded.cli("status"), guarded.cli("doctor", timeout=60.0)
    assert (status.returncode, doctor.returncode) == (1, 1)
    assert f"nothing passes the card tapipop: {why}" in status.stdout
    assert f"nothing passes tapipop: {why}" in " ".join(doctor.stdout.split())
    deadline = time.monotonic() + 30.0
    while (said := guarded.log.read_text().count("its guard does not answer")) == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert said == 1
    (tmp_path / "gate").touch()
    guarded.ready()
    assert is_up(guarded)

    # A restart of the link module asks again, and passes nothing before the answer.
    (tmp_path / "gate").unlink()
    os.kill(guarded.module_pid("tincan"), signal.SIGKILL)
    guarded.until("link", "status", lambda body: not body["card"]["up"], timeout=30.0)
    (tmp_path / "gate").touch()
    guarded.until("link", "status", lambda body: body["card"]["up"], "link.card", timeout=30.0)
    assert guarded.stop() == 0


def is_up(node: Node) -> bool:
    return "UP" in node.host.run(["ip", "-o", "link", "show", "tapipop", "up"], check=False).stdout
