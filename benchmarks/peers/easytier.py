"""EasyTier, by its Python package: a small program on each side holds a node. The middle one has no card."""

from __future__ import annotations

import sys
from importlib import metadata, util

from benchmarks.stage import Side, Stage
from ipop_core.lab.commands import run

from .peer import INNER, Tunnel, launch, write

_PROGRAM = "import easytier_pyo3, sys; n = easytier_pyo3.Node(open(sys.argv[1]).read()); n.start(); n.wait()"
_PORT = 11010


class EasyTier:
    name = "easytier"
    packages: tuple[str, ...] = ("pip:easytier-pyo3",)
    relays = True

    def installed(self) -> bool:
        return util.find_spec("easytier_pyo3") is not None

    def version(self) -> str:
        core = run([sys.executable, "-c", "import easytier_pyo3; print(easytier_pyo3.version())"]).stdout.strip()
        return f"{core} (easytier-pyo3 {metadata.version('easytier-pyo3')})"

    def start(self, stage: Stage) -> Tunnel:
        hub = stage.hub
        for side in stage.sides:
            address = stage.hub_address(side)
            self._start(side, "" if side is hub else f'[[peer]]\nuri = "udp://{address}:{_PORT}"\n')
        return Tunnel(INNER["left"], INNER["right"], "easytier0", "UDP, aes-gcm, all else default")

    def _start(self, side: Side, peer: str) -> None:
        text = (
            f'instance_name = "{side.name}"\nipv4 = "{INNER[side.name]}/24"\nlisteners = ["udp://0.0.0.0:{_PORT}"]\n'
            '[network_identity]\nnetwork_name = "benchmark"\nnetwork_secret = "benchmark"\n'
            f'{peer}[flags]\ndev_name = "easytier0"\nencryption_algorithm = "aes-gcm"\n'
        )
        launch(side, sys.executable, "-c", _PROGRAM, str(write(side.folder, "easytier.toml", text)))
