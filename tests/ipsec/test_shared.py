"""A real charon that others use, too, and a stop while it is still being told: nothing of ours stays in it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ipop_core.lab import Namespace
from ipop_modules.ipsec import negotiation as module
from ipop_modules.ipsec.charon import PID_FILE, Charon
from ipop_modules.ipsec.negotiation import Listener, Negotiation
from ipop_modules.ipsec.settings import Settings
from ipop_modules.ipsec.vici_client import ViciClient, ViciMessage
from tests.ipsec.test_renewing import CARD, Town, namespace
from tests.uml.town import eventually

__all__ = ["namespace"]
pytestmark = [pytest.mark.net, pytest.mark.slow]


async def held(client: ViciClient) -> tuple[list[Any], set[str]]:
    """Keys and connections."""
    connections = await client.listed("list-conns", "list-conn")
    return (await client.command("get-keys")).get("keys", []), {name for item in connections for name in item}


@pytest.mark.parametrize("last", ["load-key", "load-conn", None])
def test_a_stop_at_any_moment_takes_everything_back(
    namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str | None
) -> None:
    """`last` is the command whose answer does not come before the stop; None for a stop afterwards."""
    telling: asyncio.Queue[str] = asyncio.Queue()

    class Telling(ViciClient):
        async def command(self, name: str, message: Mapping[str, Any] | None = None) -> ViciMessage:
            if name == last and telling.empty():
                os.kill(pid(), signal.SIGSTOP)
                telling.put_nowait(name)
            return await super().command(name, message)

    def pid() -> int:
        return int((tmp_path / "theirs" / PID_FILE).read_text())

    async def scenario() -> None:
        charon = Charon(Settings().charon, tmp_path / "theirs", CARD.name)
        await charon.start()
        await asyncio.to_thread(eventually, charon.socket.exists, bool)
        client = await ViciClient.connect(charon.socket, lambda *_: None)
        settings = Settings(vici=str(charon.socket))
        negotiation = Negotiation(settings, tmp_path / "none", CARD, Listener(lambda *_: None, lambda _: None))
        starting = asyncio.create_task(negotiation.start(Town().first))
        if last is None:
            await starting
            keys, connections = await held(client)
            assert len(keys) == 1
            assert len(connections) > 1
        else:
            await telling.get()
        stopping = asyncio.create_task(negotiation.stop())
        await asyncio.sleep(0)
        os.kill(pid(), signal.SIGCONT)
        await stopping
        starting.cancel()
        assert await held(client) == ([], set())
        await client.close()
        await charon.stop()

    monkeypatch.setattr(module, "ViciClient", Telling)
    monkeypatch.setattr(module, "START_SECONDS", 60.0)
    namespace.call(lambda: asyncio.run(scenario()))
