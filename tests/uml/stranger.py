"""A charon that shows any certificate and speaks from any address: what an attacker could run.

Run as `python -m tests.uml.stranger FOLDER CARD`; each line on its standard input is a JSON object of an attempt, each
answer one of `established` and what charon said.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ipop_core.errors import IpopError
from ipop_modules.ipsec.charon import Charon
from ipop_modules.ipsec.connections import CHILD, Terms, connection
from ipop_modules.ipsec.vici_client import ViciClient

NAME = "attempt"
TAG = 7


async def main(folder: Path, card: str) -> None:
    charon = Charon("/usr/lib/ipsec/charon", folder, card)
    await charon.start()
    client = await _connect(charon.socket)
    print(json.dumps({"ready": True}), flush=True)
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        wish = json.loads(line)
        print(json.dumps(await _attempt(client, wish)), flush=True)
    await charon.stop()


async def _connect(path: Path) -> ViciClient:
    while True:
        try:
            return await ViciClient.connect(path, lambda *_: None)
        except OSError:
            await asyncio.sleep(0.02)


async def _attempt(client: ViciClient, wish: dict[str, Any]) -> dict[str, Any]:
    await client.command("clear-creds")
    await client.command("load-key", {"type": "any", "data": base64.b64decode(wish["key"])})
    for authority in wish["authorities"]:
        await client.command("load-cert", {"type": "X509", "flag": "CA", "data": base64.b64decode(authority)})
    for extra in wish["extra"]:
        await client.command("load-cert", {"type": "X509", "flag": "NONE", "data": base64.b64decode(extra)})
    own, peer = ip_address(wish["own"]), ip_address(wish["peer"])
    terms = Terms(TAG, 3600, base64.b64decode(wish["certificate"]))
    told = connection(terms, own, peer)
    told["local"]["id"] = wish["id"]
    told["send_cert"] = "always" if wish["shows"] else "never"
    told["remote"]["auth"] = "pubkey"
    await client.command("load-conn", {NAME: told})
    try:
        await client.command("initiate", {"ike": NAME, "child": CHILD, "timeout": 9000, "loglevel": 1})
    except IpopError as error:
        return {"established": False, "fault": str(error)}
    with contextlib.suppress(IpopError):  # the other side may have ended it already
        await client.command("terminate", {"ike": NAME, "timeout": 3000})
    return {"established": True, "fault": None}


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
