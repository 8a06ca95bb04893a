"""Modules to test with: small packages of their own, with entry points, in a folder on sys.path."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Install = Callable[..., None]

PLUGIN = """
from dataclasses import dataclass
from ipop_core.contract import ModuleSpec, hookimpl

@dataclass(frozen=True)
class Settings:
    pass

@hookimpl
def ipop_module():
    return ModuleSpec(
        name={name!r}, contract={contract!r}, role={role!r}, needs={needs!r}, schema={schema!r},
        settings="{package}.plugin:Settings", factory="{package}.plugin:create", inline={inline!r},
    )

{more}
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a module: `install("fakelink", role="link", schema={...})`; `code` replaces the whole plugin."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def install_one(name: str, *, role: str = "", code: str | None = None, more: str = "", **spec: Any) -> None:
        package = f"fake_{name.replace('-', '_')}"
        values = {"contract": 1, "needs": (), "schema": {}, "inline": False, **spec}
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("")
        text = PLUGIN.format(name=name, package=package, role=role or name, more=more, **values)
        (folder / package / "plugin.py").write_text(text if code is None else code)
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ipop.modules]\n{name} = {package}.plugin\n")

    yield install_one
    for module in [module for module in sys.modules if module.startswith("fake_")]:
        del sys.modules[module]


LINK = {
    "properties": {
        "address": {"type": "string", "format": "cidr"},
        "via": {"type": "string", "format": "address"},
        "mtu": {"type": "integer", "minimum": 576, "maximum": 65521, "default": 1500},
        "card": {"type": ["string", "null"], "minLength": 1, "maxLength": 15, "default": "tapipop"},
        "port": {"type": "integer", "minimum": 0, "maximum": 65535, "default": 0},
        "kind": {"enum": ["tap", "user"], "default": "tap"},
        "pin": {"type": "string", "maxLength": 4, "writeOnly": True},
        "timers": {"$ref": "#/$defs/timers", "default": {}},
    },
    "$defs": {
        "timers": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"rekey": {"type": "number", "exclusiveMinimum": 0, "default": 120}},
        }
    },
}

SIGNAL = {
    "properties": {
        "bootstraps": {
            "type": "array",
            "items": {"type": "string", "format": "endpoint"},
            "maxItems": 3,
            "uniqueItems": True,
            "default": [],
        },
        "via": {"anyOf": [{"type": "string", "format": "address"}, {"type": "integer", "minimum": 1}]},
    }
}


@pytest.fixture
def modules(install: Install) -> None:
    """A small set: `fakelink` and, needing it, `fakesignal`."""
    install("fakelink", role="link", schema=LINK)
    install("fakesignal", role="signal", needs=("link",), schema=SIGNAL)


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State and run folders below tmp_path; no site file."""
    monkeypatch.setenv("IPOP_STATE_ROOT", str(tmp_path / "state"))
    monkeypatch.setenv("IPOP_RUN_ROOT", str(tmp_path / "run"))
    monkeypatch.delenv("IPOP_SITE", raising=False)
    return tmp_path
