"""n2n 1: the supernode is on the left side, or in the middle."""

from __future__ import annotations

from benchmarks.stage import Stage

from .peer import INNER, Tunnel, available, debian_version, launch

_PORT = "7654"


class N2n:
    name = "n2n"
    packages: tuple[str, ...] = ("n2n",)
    relays = True

    def installed(self) -> bool:
        return available("edge", "supernode")

    def version(self) -> str:
        return debian_version("n2n")

    def start(self, stage: Stage) -> Tunnel:
        launch(stage.hub, "supernode", "-l", _PORT)
        for side in (stage.left, stage.right):
            address = stage.hub_address(side)
            inner = ["-d", "n2n0", "-a", INNER[side.name], "-s", "255.255.255.0"]
            launch(side, "edge", "-f", *inner, "-c", "benchmark", "-k", "benchmark", "-l", f"{address}:{_PORT}")
        return Tunnel(INNER["left"], INNER["right"], "n2n0", "Twofish with a shared key, all defaults")
