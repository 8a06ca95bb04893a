"""wireguard-go, WireGuard in user space. With a node in the middle, that one decrypts and encrypts again."""

from __future__ import annotations

import time
from subprocess import Popen

from benchmarks.stage import Side, Stage
from ipop_core.lab import LabError
from ipop_core.lab.commands import run

from .peer import INNER, Tunnel, available, debian_version, launch, write

_PORT = 51820
_OVERHEAD = 80
"""What wg-quick leaves of a path's MTU for its headers over IPv6."""


class WireGuard:
    name = "wireguard-go"
    packages: tuple[str, ...] = ("wireguard-go", "wireguard-tools")
    relays = True

    def installed(self) -> bool:
        return available("wireguard-go", "wg")

    def version(self) -> str:
        return debian_version("wireguard-go")

    def start(self, stage: Stage) -> Tunnel:
        mtu = stage.conditions.mtu - _OVERHEAD
        # The control sockets are files in one folder for the whole machine, named after the cards.
        names = {side.name: f"wg{side.name[0]}{side.namespace.name.split('-')[1]}" for side in stage.sides}
        private = {name: run(["wg", "genkey"]).stdout.strip() for name in names}
        public = {name: run(["wg", "pubkey"], stdin=key).stdout.strip() for name, key in private.items()}
        processes = []
        for side in stage.sides:
            neighbours = _neighbours(stage, side)
            peers = "".join(
                f"[Peer]\nPublicKey = {public[name]}\nEndpoint = {address}:{_PORT}\nAllowedIPs = {allowed}\n"
                for name, address, allowed in neighbours
            )
            text = f"[Interface]\nPrivateKey = {private[side.name]}\nListenPort = {_PORT}\n{peers}"
            processes.append(_start(side, names[side.name], str(write(side.folder, "wg.conf", text)), mtu))
        if stage.middle:
            stage.middle.namespace.sysctl("net.ipv4.ip_forward", "1")
        configuration = f"card MTU {mtu}, all else default"
        return Tunnel(INNER["left"], INNER["right"], names["left"], configuration, stop=lambda: _stop(processes))


def _neighbours(stage: Stage, side: Side) -> list[tuple[str, str, str]]:
    """Name, address on the wire, and inner addresses of those that a side speaks to."""
    left, right, middle = stage.left, stage.right, stage.middle
    if middle is None:
        other = right if side is left else left
        return [(other.name, other.address, f"{INNER[other.name]}/32")]
    if side is middle:
        return [(end.name, end.address, f"{INNER[end.name]}/32") for end in (left, right)]
    return [("middle", stage.hub_address(side), "10.98.0.0/24")]


def _start(side: Side, card: str, configuration: str, mtu: int) -> Popen[bytes]:
    process = launch(side, "wireguard-go", "-f", card)
    for _ in range(50):
        if side.namespace.run(["wg", "setconf", card, configuration], check=False).returncode == 0:
            break
        if process.poll() is not None:
            raise LabError(f"wireguard-go ended: {(side.folder / 'log').read_text()}")
        time.sleep(0.02)
    side.namespace.ip(f"address add {INNER[side.name]}/24 dev {card}", f"link set {card} mtu {mtu} up")
    return process


def _stop(processes: list[Popen[bytes]]) -> None:
    """A killed wireguard-go would leave its control socket behind."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(timeout=5.0)
