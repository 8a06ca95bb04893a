"""Whoever guards the card is asked before a packet passes it, and asked again until it answers."""

from __future__ import annotations

import asyncio
from typing import Any

from ipop_core.bus.api import Call
from ipop_core.errors import IpopError
from ipop_core.testing import FakeRole, memory_bus
from ipop_modules.tincan.guarding import wait_for_guards

CARD = {"name": "tapipop", "mac": "02:00:00:00:00:01", "addresses": ["192.168.10.10/24"]}
LIMIT = 30.0


def test_without_guards_nothing_is_waited_for() -> None:
    async def main() -> None:
        async with memory_bus() as bus:
            await asyncio.wait_for(wait_for_guards(await bus.connect("link"), [], CARD), LIMIT)

    asyncio.run(main())


def test_one_that_is_not_there_yet_is_waited_for() -> None:
    async def main() -> list[dict[str, Any]]:
        async with memory_bus() as bus:
            waiting = asyncio.create_task(wait_for_guards(await bus.connect("link"), ["crypto"], CARD))
            done, _ = await asyncio.wait([waiting], timeout=0.2)
            assert not done
            crypto = FakeRole(bus, "crypto", {"guard": {}})
            await crypto.start()
            await asyncio.wait_for(waiting, LIMIT)
            return [dict(call.body) for call in crypto.calls]

    assert asyncio.run(main()) == [CARD]


def test_one_that_refuses_is_asked_until_it_does_not() -> None:
    async def main() -> int:
        asked = 0

        async def answer(_: Call) -> dict[str, Any]:
            nonlocal asked
            asked += 1
            if asked < 3:
                raise IpopError("no keys")
            return {}

        async with memory_bus() as bus:
            await FakeRole(bus, "crypto", {"guard": answer}).start()
            await asyncio.wait_for(wait_for_guards(await bus.connect("link"), ["crypto"], CARD), LIMIT)
        return asked

    assert asyncio.run(main()) == 3
