"""The port mapping service of a home's router: miniupnpd, which speaks PCP, NAT-PMP and UPnP IGD."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path
from typing import Final

from ipop_core.lab.home import Router

PROGRAM: Final = Path("/usr/sbin/miniupnpd")
_TABLE: Final = "igd"
_RULES: Final = f"""
table inet {_TABLE}
delete table inet {_TABLE}
table inet {_TABLE} {{
  chain forwarded {{ }}
  chain mapped {{ }}
  chain mapped_back {{ }}
  chain forward {{ type filter hook forward priority filter; jump forwarded; }}
  chain in {{ type nat hook prerouting priority dstnat; jump mapped; }}
  chain out {{ type nat hook postrouting priority srcnat - 1; jump mapped_back; }}
}}
"""


class Igd:
    """miniupnpd on `router`; it takes only routers whose outer address is none of those kept for documentation.

    `folder` is for its configuration. The laboratory ends it, if nobody does before.
    """

    def __init__(self, router: Router, folder: Path) -> None:
        self._router: Final = router
        self._configuration: Final = folder / f"{router.wan.name}-igd.conf"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, pcp: bool = True, upnp: bool = False) -> None:
        """Start with no mapping, as a router does that had no power. `pcp` is for NAT-PMP, too."""
        namespace = self._router.wan.namespace
        namespace.run(["nft", "-f", "-"], stdin=_RULES)
        settings = {
            "ext_ifname": self._router.wan.interface,
            "listening_ip": self._router.lan.bridge,
            "enable_natpmp": _word(pcp),
            "enable_upnp": _word(upnp),
            "ipv6_disable": "yes",
            "secure_mode": "yes",
            "upnp_table_name": _TABLE,
            "upnp_nat_table_name": _TABLE,
            "upnp_forward_chain": "forwarded",
            "upnp_nat_chain": "mapped",
            "upnp_nat_postrouting_chain": "mapped_back",
            "uuid": str(uuid.uuid4()),
        }
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        lines.append(f"allow 1024-65535 {self._router.lan.network} 1024-65535\n")
        self._configuration.write_text("".join(lines))
        command: list[str | Path] = [
            PROGRAM,
            "-d",
            "-f",
            self._configuration,
            "-P",
            self._configuration.with_suffix(".pid"),
        ]
        self._process = namespace.popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """End it as a power cut does: nobody is told, and no mapping is left."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        namespace = self._router.wan.namespace
        namespace.run(["nft", "-f", "-"], stdin=_RULES)

    def mappings(self) -> list[str]:
        """The rules that pass a port on, as nft prints them."""
        printed = self._router.wan.namespace.run(["nft", "list", "chain", "inet", _TABLE, "mapped"]).stdout
        return [line.strip() for line in printed.splitlines() if "dnat" in line]


def _word(on: bool) -> str:
    return "yes" if on else "no"
