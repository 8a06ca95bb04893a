"""Yggdrasil: an IPv6 network over TCP. With a node in the middle, both sides peer with it."""

from __future__ import annotations

import json

from benchmarks.stage import Stage
from ipop_core.lab.commands import run

from .peer import Tunnel, available, debian_version, launch, write

_PORT = 9001
_CARD = "ygg0"


class Yggdrasil:
    name = "yggdrasil"
    packages: tuple[str, ...] = ("yggdrasil",)
    relays = True

    def installed(self) -> bool:
        return available("yggdrasil")

    def version(self) -> str:
        return debian_version("yggdrasil")

    def start(self, stage: Stage) -> Tunnel:
        hub = stage.hub
        addresses = {}
        for side in stage.sides:
            address = stage.hub_address(side)
            configuration = json.loads(run(["yggdrasil", "-genconf", "-json"]).stdout)
            configuration |= {
                "Listen": [f"tcp://0.0.0.0:{_PORT}"] if side is hub else [],
                "Peers": [] if side is hub else [f"tcp://{address}:{_PORT}"],
                "MulticastInterfaces": [],
                "AdminListen": "none",
                "IfName": _CARD,
            }
            path = write(side.folder, "yggdrasil.json", json.dumps(configuration))
            addresses[side.name] = run(["yggdrasil", "-useconffile", path, "-address"]).stdout.strip()
            launch(side, "yggdrasil", "-useconffile", str(path))
        return Tunnel(addresses["left"], addresses["right"], _CARD, "one TCP peering, no multicast")
