"""The kit for authors of modules, used as its first page says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ipop_core.bus.api import Call, Event, JsonObject
from ipop_core.contract import ModuleContext
from ipop_core.errors import BusError, IpopError
from ipop_core.testing import FakeRole, memory_bus, module_context, restarted

MESSAGES = [
    {
        "role": "census",
        "actions": {"count": {"doc": "Peers.", "request": {"type": "object"}, "response": {"type": "object"}}},
        "events": {"census.grew": {"doc": "More peers.", "body": {"type": "object"}}},
    }
]


class Census:
    """A module as a stranger would write it."""

    def __init__(self, context: ModuleContext) -> None:
        self.context = context
        context.bus.serve("count", self._count)

    async def start(self) -> None:
        await self.context.bus.subscribe("link.up", self._grew)

    async def stop(self) -> None:
        """It holds nothing."""

    async def _count(self, _: Call) -> JsonObject:
        peers = (await self.context.bus.request("link", "peers")).body["peers"]
        return {"count": len(peers)}

    def _grew(self, _: Event) -> None:
        self.context.bus.publish("census.grew")


def test_a_module_against_a_fake_role(tmp_path: Path) -> None:
    async def story() -> None:
        async with memory_bus(MESSAGES) as bus:
            link = FakeRole(bus, "link", {"peers": {"peers": []}})
            await link.start()
            context = module_context(None, bus=await bus.connect("census"), folder=tmp_path)
            await Census(context).start()
            person = await bus.connect()
            assert (await person.request("census", "count")).body == {"count": 0}
            assert [call.sender for call in link.called("peers")] == ["census"]

            heard: asyncio.Queue[Event] = asyncio.Queue()
            await person.subscribe("census.*", heard.put_nowait)
            link.publish("link.up", {"node": "a" * 40, "endpoint": "1.2.3.4:5", "kinds": [], "initiator": True})
            assert (await heard.get()).topic == "census.grew"

            link.answer("peers", IpopError("busy with something else"))
            with pytest.raises(BusError, match="busy with something else"):
                await person.request("census", "count")
            assert restarted(context, person).identity.hex == context.identity.hex

    asyncio.run(asyncio.wait_for(story(), 5))


def test_a_fake_role_keeps_to_the_contract(tmp_path: Path) -> None:
    async def story() -> None:
        async with memory_bus() as bus:
            with pytest.raises(ValueError, match="not in the contract"):
                await FakeRole(bus, "link", {"dance": {}}).start()

    asyncio.run(story())
