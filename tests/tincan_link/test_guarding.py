"""Whoever guards the card is asked before a packet passes it, and asked again until it answers."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from ipop_core.bus.api import Call
from ipop_core.errors import IpopError
from ipop_core.testing import FakeRole, memory_bus
from ipop_modules.tincan.guarding import Guards

CARD = {"name": "tapipop", "mac": "02:00:00:00:00:01", "addresses": ["192.168.10.10/24"]}
LIMIT = 30.0


def test_without_guards_nothing_is_waited_for() -> None:
    async def main() -> None:
        async with memory_bus() as bus:
            guards = Guards(await bus.connect("link"), [])
            assert not guards
            await asyncio.wait_for(guards.answered(CARD), LIMIT)

    asyncio.run(main())


def test_one_that_is_not_there_yet_is_waited_for() -> None:
    async def main() -> list[dict[str, Any]]:
        async with memory_bus() as bus:
            waiting = asyncio.create_task((guards := Guards(await bus.connect("link"), ["crypto"])).answered(CARD))
            done, _ = await asyncio.wait([waiting], timeout=0.2)
            assert not done
            assert guards.blocked == "its guard, the role crypto, has not answered yet"
            crypto = FakeRole(bus, "crypto", {"guard": {}})
            await crypto.start()
            await asyncio.wait_for(waiting, LIMIT)
            assert guards.blocked is None
            return [dict(call.body) for call in crypto.calls]

    assert asyncio.run(main()) == [CARD]


def test_one_that_refuses_is_asked_until_it_does_not() -> None:
    async def main() -> int:
        asked = 0

        async def answer(_: Call) -> dict[str, Any]:
            nonlocal asked
            asked += 1
            if asked == 2:
                assert guards.blocked == "its guard, the role crypto, refuses: no keys"
            if asked < 3:
                raise IpopError("no keys")
            return {}

        async with memory_bus() as bus:
            await FakeRole(bus, "crypto", {"guard": answer}).start()
            guards = Guards(await bus.connect("link"), ["crypto"])
            await asyncio.wait_for(guards.answered(CARD), LIMIT)
        return asked

    assert asyncio.run(main()) == 3


def test_one_that_never_answers_is_named_in_the_log_and_again_but_rarely(caplog: pytest.LogCaptureFixture) -> None:
    async def never(_: Call) -> None:
        await asyncio.Event().wait()

    def lines() -> list[Any]:
        return [record for record in caplog.records if "does not answer" in record.getMessage()]

    async def main() -> None:
        async with memory_bus() as bus:
            await FakeRole(bus, "crypto", {"guard": never}).start()
            guards = Guards(await bus.connect("link"), ["crypto"], silent_after=0.05, say_again=0.5)
            waiting = asyncio.create_task(guards.answered(CARD))
            begun = time.monotonic()
            async with asyncio.timeout(LIMIT):
                while len(lines()) < 2:
                    assert not waiting.done()
                    await asyncio.sleep(0.01)
            assert time.monotonic() - begun >= 0.5
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert guards.blocked is None
            said = len(lines())
            await asyncio.sleep(0.6)
            assert len(lines()) == said

    with caplog.at_level(logging.WARNING, "ipop.tincan"):
        asyncio.run(main())
    assert {record.fields["role"] for record in lines()} == {"crypto"}
