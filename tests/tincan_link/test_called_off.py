"""A start that is called off, as when the node is stopped while its card is still being made."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from ipop_core.testing import memory_bus, module_context
from ipop_modules.tincan import module
from ipop_modules.tincan.module import Tincan
from ipop_modules.tincan.settings import TincanSettings

from .net import OPEN


def test_what_was_made_so_far_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opening, end = threading.Event(), threading.Event()

    def open_card(*_given: object) -> None:
        opening.set()
        end.wait(10.0)

    async def call_off() -> None:
        async with memory_bus() as bus:
            settings = TincanSettings(address="192.168.10.10/24", port=0)
            made = Tincan(module_context(settings, bus=await bus.connect("link"), folder=tmp_path, namespace=OPEN))
            start = asyncio.ensure_future(made.start())
            await asyncio.to_thread(opening.wait, 10.0)
            start.cancel()
            await asyncio.wait([start])
            await made.stop()
            assert made.udp.fileno() < 0
            end.set()

    monkeypatch.setattr(module, "open_card", open_card)
    asyncio.run(call_off())
