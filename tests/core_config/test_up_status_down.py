"""One node with small modules of its own: `ipop up`, what the reading commands say of it, `ipop down`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ipop_core import folders
from ipop_core.cli import template
from ipop_core.cli.main import cli

from .conftest import Install

MODULE = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Settings:
    answer: dict

class Module:
    def __init__(self, context):
        self.context = context

    async def start(self):
        async def status(call):
            return self.context.settings.answer
        self.context.bus.serve("status", status)

    async def stop(self):
        pass

create = Module
"""
LINK = {
    "node": "ab" * 20,
    "card": {"name": "tapipop", "addresses": ["192.168.10.10/24"], "mac": "02:00:00:00:00:01"},
    "listening": ["0.0.0.0:4741"],
    "observed": [],
    "sessions": 3,
    "counters": {"dropped": 0, "spoofed": 7},
}
RING = {
    "joined": True,
    "size_estimate": 9,
    "neighbours": [],
    "registered": [{"address": "192.168.10.10", "state": "registered"}],
    "members": 0,
}
TEMPLATE = {
    "node": {"name": "$node"},
    "namespace": "$namespace",
    "modules": {"fakelink": {"answer": LINK}, "fakering": {"answer": RING}},
}


@pytest.fixture
def node(install: Install, roots: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    schema = {"properties": {"answer": {"type": "object"}}}
    install("fakelink", role="link", inline=True, schema=schema, more=MODULE)
    install("fakering", role="topology", inline=True, schema=schema, more=MODULE)
    monkeypatch.setenv("PYTHONPATH", str(roots / "site"))
    monkeypatch.setattr(template, "load_template", lambda _: TEMPLATE)
    yield
    if folders.running_nodes():
        ipop("down")


def ipop(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def status() -> tuple[int, Any]:
    result = ipop("status", "--json")
    return result.exit_code, json.loads(result.stdout)


def restart_with(roots: Path, **ring: Any) -> None:
    path = roots / "state/default/controller.json"
    document = json.loads(path.read_text())
    document["modules"]["fakering"]["answer"].update(ring)
    path.write_text(json.dumps(document))
    assert ipop("down").exit_code == 0
    assert ipop("up").exit_code == 0


@pytest.mark.usefixtures("node")
def test_from_up_to_down(roots: Path) -> None:
    up = ipop("up", "tutorial", "10")
    assert up.exit_code == 0, up.output
    assert "tapipop 192.168.10.10/24" in up.stdout
    assert folders.running_nodes() == ["default"]

    shown = ipop("status")
    assert shown.exit_code == 0, shown.output
    for line in (
        "card             tapipop 192.168.10.10/24",
        "members          nobody else is in namespace tutorial: check its spelling",
        "spoofed          7",
        "module fakering  running",
    ):
        assert line in shown.stdout.splitlines()
    assert "dropped" not in shown.stdout
    code, found = status()
    assert (code, found["roles"]["topology"]["members"], found["problems"]) == (0, 0, [])

    rows = ipop("modules").stdout.splitlines()
    assert rows[0].split() == ["NAME", "ROLE", "PID", "STATE", "RESTARTS", "SINCE"]
    assert [row.split()[:2] for row in rows[1:]] == [["fakelink", "link"], ["fakering", "topology"]]
    assert {module["state"] for module in json.loads(ipop("modules", "--json").stdout)} == {"running"}

    again = ipop("up", "tutorial", "10")
    assert (again.exit_code, "is up already" in again.stderr) == (0, True)

    restart_with(roots, registered=[{"address": "192.168.10.10", "state": "taken", "owner": "ab" * 20}])
    code, found = status()
    assert code == 1
    assert found["problems"] == [f"the address 192.168.10.10 belongs to another node ({'ab' * 20})"]

    assert ipop("down").exit_code == 0
    assert folders.running_nodes() == []
    assert ipop("status").exit_code == 3
