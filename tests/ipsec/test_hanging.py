"""A real charon that hangs, or answers when nobody waits any more."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ipop_core.lab import Namespace
from ipop_modules.ipsec import negotiation as module
from ipop_modules.ipsec import vici_client
from ipop_modules.ipsec.charon import PID_FILE
from ipop_modules.ipsec.negotiation import Listener, Negotiation
from ipop_modules.ipsec.settings import Settings
from ipop_modules.ipsec.vici_client import ViciClient, ViciError
from tests.ipsec.test_renewing import CARD, Town, namespace

__all__ = ["namespace"]
pytestmark = [pytest.mark.net, pytest.mark.slow]


class Charon:
    """One with its keeper."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[str] = []
        self.negotiation = Negotiation(Settings(), folder, CARD, Listener(lambda *_: None, self.faults.append))

    @property
    def client(self) -> ViciClient:
        assert self.negotiation._client
        return self.negotiation._client

    @property
    def pid(self) -> int:
        return int((self.folder / PID_FILE).read_text())

    def hang(self) -> None:
        """Returns when all its threads have stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            while (thread / "stat").read_text().rpartition(")")[2].split()[0] != "T":
                os.sched_yield()

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


def run(where: Namespace, folder: Path, scenario: Callable[[Charon], Awaitable[None]]) -> None:
    async def work() -> None:
        charon = Charon(folder)
        await charon.negotiation.start(Town().first)
        try:
            await scenario(charon)
        finally:
            await charon.negotiation.stop()

    where.call(lambda: asyncio.run(work()))


@pytest.mark.parametrize("streams", [False, True])
def test_the_answer_to_a_cancelled_command_is_not_taken_for_the_next_one_s(
    namespace: Namespace, tmp_path: Path, streams: bool
) -> None:
    async def scenario(charon: Charon) -> None:
        client = charon.client
        charon.hang()
        asked = client.listed("list-conns", "list-conn") if streams else client.command("version")
        cancelled = asyncio.create_task(asked)
        await asyncio.sleep(0)
        assert client._owed
        cancelled.cancel()
        later = asyncio.create_task(client.command("stats"))
        charon.go_on()
        assert "uptime" in await later
        assert "daemon" in await client.command("version")
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert len(await client.listed("list-conns", "list-conn")) == CARD.interfaces[0].network.num_addresses - 3

    run(namespace, tmp_path / "charon", scenario)


def test_a_charon_that_hangs_is_replaced(namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serving: asyncio.Queue[ViciClient] = asyncio.Queue()

    class Seen(ViciClient):
        async def subscribe(self, *events: str) -> None:
            await super().subscribe(*events)
            serving.put_nowait(self)

    monkeypatch.setattr(module, "ViciClient", Seen)

    async def scenario(charon: Charon) -> None:
        await serving.get()
        hanging = charon.pid
        charon.hang()
        monkeypatch.setattr(vici_client, "_COMMAND_SECONDS", 0.1)
        with pytest.raises(ViciError, match="charon does not answer"):
            await charon.client.command("version")
        monkeypatch.setattr(vici_client, "_COMMAND_SECONDS", 10.0)
        async with asyncio.timeout(60):
            client = await serving.get()
        assert "daemon" in await client.command("version")
        assert charon.pid != hanging
        assert charon.faults == ["charon has gone, but its process has not: it is ended"]
        assert charon.negotiation.restarts == 1

    run(namespace, tmp_path / "charon", scenario)
