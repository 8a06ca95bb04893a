"""tinc 1.0. With a node in the middle, both sides connect to it and it passes their packets on."""

from __future__ import annotations

from benchmarks.stage import Side, Stage
from ipop_core.lab.commands import run

from .peer import INNER, Tunnel, available, debian_version, launch, write

_CARD = "tinc0"


class Tinc:
    name = "tinc"
    packages: tuple[str, ...] = ("tinc",)
    relays = True

    def installed(self) -> bool:
        return available("tincd")

    def version(self) -> str:
        return debian_version("tinc")

    def start(self, stage: Stage) -> Tunnel:
        hosts = {}
        for side in stage.sides:
            write(side.folder, "tinc.conf", f"Name = {side.name}\n")
            write(side.folder, f"hosts/{side.name}", f"Subnet = {INNER[side.name]}/32\n")
            run(["tincd", "-c", side.folder, "-K2048"])
            hosts[side.name] = (side.folder / "hosts" / side.name).read_text()
        hub = stage.hub
        for side in stage.sides:
            address = stage.hub_address(side)
            for name, text in hosts.items():
                extra = f"Address = {address}\n" if name == hub.name and side is not hub else ""
                write(side.folder, f"hosts/{name}", extra + text)
            self._start(side, "" if side is hub else f"ConnectTo = {hub.name}\n")
        return Tunnel(INNER["left"], INNER["right"], _CARD, "router mode, path MTU discovery, all defaults")

    def _start(self, side: Side, connect: str) -> None:
        write(side.folder, "tinc.conf", f"Name = {side.name}\nInterface = {_CARD}\nAddressFamily = ipv4\n{connect}")
        up = f"#!/bin/sh\nip address add {INNER[side.name]}/24 dev $INTERFACE\nip link set $INTERFACE up\n"
        write(side.folder, "tinc-up", up).chmod(0o700)
        launch(side, "tincd", "-c", str(side.folder), "-D", f"--pidfile={side.folder}/pid")
