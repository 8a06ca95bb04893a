"""OpenVPN over UDP, AES-256-GCM: the left side is the server; with a node in the middle that one is, for both."""

from __future__ import annotations

from pathlib import Path

from benchmarks.stage import Stage
from ipop_core.lab.commands import run

from .peer import INNER, Tunnel, available, debian_version, launch, write

_COMMON = "dev tun\ndev-type tun\nproto udp\ntopology subnet\nfast-io\nverb 1\ncert own.crt\nkey own.key\n"


class OpenVpn:
    name = "openvpn"
    packages: tuple[str, ...] = ("openvpn",)
    relays = True

    def installed(self) -> bool:
        return available("openvpn", "openssl")

    def version(self) -> str:
        return debian_version("openvpn")

    def start(self, stage: Stage) -> Tunnel:
        prints = {side.name: _certify(side.folder, side.name) for side in stage.sides}
        server = stage.hub
        others = [side for side in stage.sides if side is not server]
        accepted = "".join(f"{prints[side.name]}\n" for side in others)
        for side in others:
            write(server.folder, f"clients/{side.name}", f"ifconfig-push {INNER[side.name]} 255.255.255.0\n")
        text = (
            f"{_COMMON}mode server\ntls-server\nifconfig {INNER[server.name]} 255.255.255.0\ndh none\n"
            f"client-config-dir clients\nclient-to-client\nkeepalive 10 60\n"
            f'push "topology subnet"\n<peer-fingerprint>\n{accepted}</peer-fingerprint>\n'
        )
        launch(server, "openvpn", "--config", str(write(server.folder, "server.conf", text)))
        for side in others:
            address = stage.hub_address(side)
            text = f"{_COMMON}client\nnobind\nremote {address}\npeer-fingerprint {prints[server.name]}\n"
            launch(side, "openvpn", "--config", str(write(side.folder, "client.conf", text)))
        return Tunnel(INNER["left"], INNER["right"], "tun0", "UDP, AES-256-GCM, fast-io, user space")


def _certify(folder: Path, name: str) -> str:
    """Make a key and a certificate; returns the certificate's SHA-256 fingerprint."""
    certificate = str(folder / "own.crt")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run(
        [
            "openssl",
            "req",
            "-x509",
            *curve,
            "-keyout",
            str(folder / "own.key"),
            "-out",
            certificate,
            "-days",
            "30",
            "-subj",
            f"/CN={name}",
        ]
    )
    printed = run(["openssl", "x509", "-fingerprint", "-sha256", "-noout", "-in", certificate]).stdout
    return printed.strip().partition("=")[2]
