"""Nebula: the left side, or the middle one, is the lighthouse (and the relay)."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.stage import Side, Stage
from ipop_core.lab.commands import run

from .peer import INNER, Tunnel, available, debian_version, launch, write

_PORT = 4242
_OVERHEAD = 60
"""IPv4, UDP, Nebula's header and its tag."""
_BUFFER = 10_485_760
"""As the example configuration suggests for fast links."""


class Nebula:
    name = "nebula"
    packages: tuple[str, ...] = ("nebula",)
    relays = True

    def installed(self) -> bool:
        return available("nebula", "nebula-cert")

    def version(self) -> str:
        return debian_version("nebula")

    def start(self, stage: Stage) -> Tunnel:
        mtu = stage.conditions.mtu - _OVERHEAD
        authority = stage.left.folder / "ca"
        authority.mkdir()
        signing = ["-ca-crt", f"{authority}/ca.crt", "-ca-key", f"{authority}/ca.key"]
        run(["nebula-cert", "ca", "-name", "benchmark", "-out-crt", signing[1], "-out-key", signing[3]])
        for side in stage.sides:
            own = ["-out-crt", f"{side.folder}/own.crt", "-out-key", f"{side.folder}/own.key"]
            run(["nebula-cert", "sign", *signing, "-name", side.name, "-ip", f"{INNER[side.name]}/24", *own])
            # YAML is a superset of JSON.
            path = write(side.folder, "config.yml", json.dumps(_configuration(stage, side, f"{authority}/ca.crt", mtu)))
            launch(side, "nebula", "-config", str(path))
        return Tunnel(INNER["left"], INNER["right"], "nebula0", f"AES-GCM, tun.mtu {mtu}, listen buffers 10 MB")


def _configuration(stage: Stage, side: Side, authority: str, mtu: int) -> dict[str, Any]:
    lighthouse = stage.hub
    address = stage.hub_address(side)
    is_lighthouse = side is lighthouse
    anyone = [{"port": "any", "proto": "any", "host": "any"}]
    relay = {"am_relay": is_lighthouse, "use_relays": True, "relays": [] if is_lighthouse else [INNER[lighthouse.name]]}
    return {
        "pki": {"ca": authority, "cert": f"{side.folder}/own.crt", "key": f"{side.folder}/own.key"},
        "static_host_map": {} if is_lighthouse else {INNER[lighthouse.name]: [f"{address}:{_PORT}"]},
        "lighthouse": {
            "am_lighthouse": is_lighthouse,
            "interval": 10,
            "hosts": [] if is_lighthouse else [INNER[lighthouse.name]],
        },
        "listen": {"host": "0.0.0.0", "port": _PORT, "read_buffer": _BUFFER, "write_buffer": _BUFFER},
        "cipher": "aes",
        "relay": relay if stage.middle else {},
        "tun": {"dev": "nebula0", "mtu": mtu},
        "logging": {"level": "warning", "format": "text"},
        "firewall": {"outbound": anyone, "inbound": anyone},
    }
