"""This project, with its defaults: two members of an open namespace; the bootstrap is the left one, or the middle."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.stage import Side, Stage

from .peer import INNER, Tunnel, launch, write

_CONTROLLER = Path(sys.executable).with_name("ipop-controller")
_COMMAND = Path(sys.executable).with_name("ipop")
PORT = 4741
NAMESPACE = "benchmark"


class Ipop:
    packages: tuple[str, ...] = ()
    relays = True

    def __init__(
        self,
        name: str = "ipop",
        more: Mapping[str, Any] | None = None,
        addresses: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`more`: sections of modules that are off by default; `addresses`: of a side's card, with prefix lengths."""
        self.name = name
        self._more = more or {}
        self._addresses = addresses or {side: [f"{address}/24"] for side, address in INNER.items()}

    def installed(self) -> bool:
        return _CONTROLLER.exists()

    def version(self) -> str:
        return metadata.version("ipop")

    def start(self, stage: Stage) -> Tunnel:
        for side in stage.sides:
            self.start_one(side, [] if side is stage.hub else [f"{stage.hub_address(side)}:{PORT}"])
        wanted = "direct" if stage.middle is None else "overlay"
        return Tunnel(
            INNER["left"],
            INNER["right"],
            "tapipop",
            ", ".join(["open namespace, all defaults", *(f"with {name}" for name in self._more)]),
            settled=lambda: _path(stage.left, INNER["right"]) == wanted,
        )

    def start_one(self, side: Side, bootstraps: list[str]) -> None:
        """Start a node on one computer. Raises LabError."""
        member = side.name != "middle"
        tincan: dict[str, Any] = {"address": list(self._addresses[side.name])} if member else {"card": None}
        configuration: dict[str, Any] = {
            "node": {"name": side.name, "state": str(side.folder / "state"), "run": str(side.folder / "run")},
            "modules": {
                "tincan": tincan,
                "topology": {},
                "signal": {"bootstraps": bootstraps},
                "logger": {},
                **self._more,
            },
        }
        if member:
            configuration["namespace"] = NAMESPACE
        path = write(side.folder, "controller.json", json.dumps(configuration, indent=2))
        launch(side, str(_CONTROLLER), "-c", str(path))


def ask(side: Side, *command: str) -> Any:
    """What `ipop COMMAND --json` prints on one computer. Raises LabError."""
    printed = side.namespace.run([str(_COMMAND), "-c", str(side.folder / "controller.json"), *command, "--json"])
    return json.loads(printed.stdout)


def _path(side: Side, address: str) -> str:
    """How a node reaches a member, in its own word: direct or overlay."""
    return next((peer["path"] for peer in ask(side, "peers") if address in peer["addresses"]), "")
