"""The wire itself, with no tunnel: the limit. In the middle, the kernel forwards."""

from __future__ import annotations

import platform

from benchmarks.stage import Stage

from .peer import Tunnel


class Raw:
    name = "raw"
    packages: tuple[str, ...] = ()
    relays = True

    def installed(self) -> bool:
        return True

    def version(self) -> str:
        return f"Linux {platform.release()}"

    def start(self, stage: Stage) -> Tunnel:
        middle = stage.middle
        if middle is not None:
            middle.namespace.sysctl("net.ipv4.ip_forward", "1")
            stage.left.namespace.ip(f"route add default via {middle.address}")
            stage.right.namespace.ip(f"route add default via {middle.right_address}")
        return Tunnel(stage.left.address, stage.right.address, "wire", "veth, no tunnel")
