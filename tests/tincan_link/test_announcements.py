"""What the link machine tells reaches whom it concerns, whatever becomes of other news."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from ipop_modules.tincan.announcements import Announcements
from ipop_modules.tincan.link.loop import LOGGED_BURST
from ipop_modules.tincan.link.protocol.events import CardIdle, Event, RendezvousWanted


def test_news_that_meets_a_fault_keeps_no_other_back(caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, Any]] = []
    bus: Any = SimpleNamespace(publish=lambda topic, body: told.append((topic, body)))

    def offer(node: bytes) -> dict[str, object]:
        raise ValueError("3 bytes are no address")

    waiting: list[Event] = [RendezvousWanted(b"a"), CardIdle(b"b")] * 10
    tincan: Any = SimpleNamespace(machine=SimpleNamespace(events=waiting), now=lambda: 0.0, offer=offer, owners=None)

    async def publish() -> int:
        announcements = Announcements(bus, tincan)
        announcements.publish()
        return announcements.faults

    with caplog.at_level(logging.ERROR):
        assert asyncio.run(publish()) == 10
    assert told == [("link.idle", {"node": b"b".hex()})] * 10
    assert len(caplog.records) == LOGGED_BURST
