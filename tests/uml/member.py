"""One member without its overlay: the module ipsec alone, on a card that is a veth called tapipop.

Run as `python -m tests.uml.member WISH`, a JSON object; commands are lines on its standard input, answers lines of
JSON. So the kernel's part is tested without the links', and a member is a process that can be killed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from ipop_core.contract import ModuleContext
from ipop_core.errors import IpopError
from ipop_core.identity import load_or_create
from ipop_core.namespace import NamespaceSettings, build_namespace
from ipop_core.testing import FakeRole, memory_bus, module_context
from ipop_modules.ipsec.module import Ipsec
from ipop_modules.ipsec.settings import Settings


async def main(folder: Path, card: str, addresses: list[str], peers: list[str], settings: Settings) -> None:
    interfaces = [ip_interface(address) for address in addresses]
    facts = {"name": card, "mac": "02:00:00:00:00:01", "addresses": [str(item) for item in interfaces]}
    status = {"node": "0" * 40, "card": facts, "listening": [], "observed": [], "sessions": 0, "counters": {}}
    async with memory_bus() as bus:
        link = FakeRole(bus, "link", {"status": status, "peers": {"peers": [_peer(peers)]}})
        await link.start()
        client = await bus.connect("crypto")
        module = Ipsec(_context(folder, client, settings))
        try:
            await module.start()
        except IpopError as error:
            _say({"fault": str(error)})
            return
        client.started()
        _say({"ready": True})
        guest = await bus.connect()
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            try:
                _say(dict((await guest.request("crypto", line, timeout=20.0)).body))
            except IpopError as error:
                _say({"fault": str(error)})
        await module.stop()


def _peer(addresses: list[str]) -> dict[str, Any]:
    numbers = dict.fromkeys(("bytes_in", "bytes_out", "age_s", "rtt_ms", "overlay_hops"), 0)
    facts = {"path": "direct", "endpoint": None, "kinds": [], "member": True}
    return {"node": "1" * 40, "addresses": addresses, **numbers, **facts}


def _context(folder: Path, client: Any, settings: Settings) -> ModuleContext:
    namespace = build_namespace(NamespaceSettings(name="town", authority=folder.parent / "authority.pem"))
    identity = load_or_create(folder / "node")
    return module_context(settings, bus=client, folder=folder, namespace=namespace, identity=identity)


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    wish: dict[str, Any] = json.loads(sys.argv[1])
    asyncio.run(
        main(Path(wish["folder"]), wish["card"], wish["addresses"], wish["peers"], Settings(**wish["settings"]))
    )
