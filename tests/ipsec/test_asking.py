"""A real charon that is killed while somebody waits for keys: the next one is asked for them, too."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from ipop_core.lab import Namespace
from ipop_modules.ipsec import negotiation, wishes
from ipop_modules.ipsec.vici_client import ViciClient, ViciMessage
from tests.ipsec.test_hanging import Charon, run
from tests.ipsec.test_renewing import namespace

__all__ = ["namespace"]
pytestmark = [pytest.mark.net, pytest.mark.slow]

PEER = ip_address("192.168.10.11")


def test_the_next_charon_is_asked_though_somebody_still_waits_for_the_one_before(
    namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: asyncio.Queue[ViciClient] = asyncio.Queue()

    class Seen(ViciClient):
        async def command(self, name: str, message: Mapping[str, Any] | None = None) -> ViciMessage:
            answer = await super().command(name, message)
            if message and name == "initiate":
                assert str(message["ike"]).endswith(f"-{PEER}")
                asked.put_nowait(self)
            return answer

    monkeypatch.setattr(negotiation, "ViciClient", Seen)
    monkeypatch.setattr(wishes, "TRIES", (600.0,))

    async def scenario(charon: Charon) -> None:
        charon.negotiation.want(PEER)
        first = await asked.get()
        os.kill(charon.pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            assert await asked.get() is not first

    run(namespace, tmp_path / "charon", scenario)
