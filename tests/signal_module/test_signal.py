"""The module between a bus that the test holds and the names that the test resolves."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import msgspec
import pytest

import ipop_schemas
from ipop_core.bus.api import JsonObject
from ipop_core.errors import BusError, ConfigError
from ipop_modules.signal import dialer, resolver
from ipop_modules.signal.module import Signal
from ipop_modules.signal.plugin import ipop_module
from ipop_modules.signal.protocol.candidates import pack
from ipop_modules.signal.protocol.offers import Answer, Offer, decode, encode
from ipop_modules.signal.settings import Settings

from .fake_bus import FakeBus

OWN, PEER, OTHER = "00" * 20, "aa" * 20, "bb" * 20
CONTRACT = json.loads((Path(ipop_schemas.__file__).parent / "messages" / "signal.json").read_text())


@asynccontextmanager
async def signal(bus: FakeBus, *bootstraps: str) -> AsyncIterator[Signal]:
    async def candidates(_: JsonObject) -> JsonObject:
        return {"candidates": ["192.0.2.1:1"]}

    bus.answerers.setdefault("link.candidates", candidates)
    context: Any = SimpleNamespace(bus=bus, settings=Settings(bootstraps, lan=False), identity=SimpleNamespace(hex=OWN))
    module = Signal(context)
    await module.start()
    try:
        yield module
    finally:
        await module.stop()


def resolve_to(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> None:
    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, 0)) for address in names[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def answer_as(node: str) -> Callable[[JsonObject], Awaitable[JsonObject]]:
    async def connect(body: JsonObject) -> JsonObject:
        return {"node": node, "endpoint": body["endpoint"]}

    return connect


async def contact(bus: FakeBus) -> JsonObject:
    topic, body = await asyncio.wait_for(bus.published.get(), 5)
    assert topic == "signal.contact"
    check(CONTRACT["events"]["signal.contact"]["body"], body)
    return body


def check(schema: Any, body: JsonObject) -> None:
    jsonschema.validate(body, {**schema, "$defs": CONTRACT["$defs"]})


def test_a_bootstrap_is_connected_and_shown() -> None:
    async def story() -> None:
        bus = FakeBus()
        bus.answerers["link.connect"] = answer_as(PEER)
        async with signal(bus, f"{PEER}@192.0.2.7"):
            assert (await contact(bus))["state"] == "connected"
            assert bus.requests == [("link.connect", {"endpoint": "192.0.2.7:4741", "kind": "bootstrap", "node": PEER})]
            status = await bus.call("status")
            check(CONTRACT["actions"]["status"]["response"], status)
            assert status["bootstraps"] == [
                {"name": f"{PEER}@192.0.2.7", "state": "connected", "node": PEER, "fault": None}
            ]

    asyncio.run(story())


def test_a_lost_bootstrap_is_tried_again_and_a_restart_of_the_links_is_waited_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ipop_modules.signal.protocol.contact.backoff", lambda *_: 0.001)

    async def story() -> None:
        bus = FakeBus()
        codes = iter(["no-role", "failed", "timeout"])

        async def connect(body: JsonObject) -> JsonObject:
            code = next(codes, None)
            if code is not None:
                raise BusError(code, code)
            return await answer_as(PEER)(body)

        bus.answerers["link.connect"] = connect
        async with signal(bus, "192.0.2.7:1"):
            assert [(await contact(bus))["fault"] for _ in range(4)] == ["no-role", "failed", "no answer", None]
            bus.deliver("link.down", {"node": PEER, "reason": "silent"})
            assert (await contact(bus))["fault"] == "link lost: silent"
            assert (await contact(bus))["state"] == "connected"

    asyncio.run(story())


def test_a_link_that_is_up_is_confirmed_without_a_new_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipop_modules.signal.protocol.contact.CONFIRM_AFTER", 0.01)

    async def story() -> None:
        bus, confirmed = FakeBus(), asyncio.Event()

        async def connect(body: JsonObject) -> JsonObject:
            if "endpoint" not in body:
                confirmed.set()
            return {"node": PEER, "endpoint": "192.0.2.7:1"}

        bus.answerers["link.connect"] = connect
        async with signal(bus, "192.0.2.7:1"):
            await asyncio.wait_for(confirmed.wait(), 5)
            assert bus.requests[1] == ("link.connect", {"node": PEER, "kind": "bootstrap"})
            assert bus.published.qsize() == 1

    asyncio.run(story())


def test_a_name_that_does_not_resolve_is_a_fault_that_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lookups = count(1)

    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        if next(lookups) <= 5:
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", ("192.0.2.7", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("ipop_modules.signal.protocol.contact.backoff", lambda *_: 0.001)

    async def story() -> None:
        bus = FakeBus()
        bus.answerers["link.connect"] = answer_as(PEER)
        async with signal(bus, "boot:1"):
            fault = "can't resolve the name boot: Name or service not known"
            assert (await contact(bus))["fault"] == fault
            assert (await bus.call("status"))["bootstraps"][0]["fault"] == fault
            assert (await contact(bus))["state"] == "connected"

    with caplog.at_level(logging.INFO, logger="ipop.signal"):
        asyncio.run(story())
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_slow_resolver_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> list[Any]:
        await asyncio.Event().wait()
        return []

    async def story() -> None:
        monkeypatch.setattr(resolver, "TIME_LIMIT", 0.01)
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
        bus = FakeBus()
        async with signal(bus, "boot:1"):
            assert "not resolved within" in (await contact(bus))["fault"]

    asyncio.run(story())


def test_every_address_of_a_name_is_tried_beside_the_one_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, {"boot": ["192.0.2.7", "192.0.2.8", "2001:db8::7"]})
    monkeypatch.setattr(dialer, "HEAD_START", 0.01)

    async def story() -> None:
        bus = FakeBus()

        async def connect(body: JsonObject) -> JsonObject:
            if body["endpoint"] != "192.0.2.8:1":
                await asyncio.Event().wait()
            return await answer_as(PEER)(body)

        bus.answerers["link.connect"] = connect
        async with signal(bus, "boot:1"):
            assert (await contact(bus))["state"] == "connected"
            assert [body["endpoint"] for _, body in bus.requests] == ["[2001:db8::7]:1", "192.0.2.7:1", "192.0.2.8:1"]

    asyncio.run(story())


def test_a_bootstrap_that_is_this_node_is_let_be_and_another_refusal_is_not() -> None:
    async def story() -> None:
        bus = FakeBus()

        async def connect(body: JsonObject) -> JsonObject:
            raise BusError("refused", "own-id" if body["endpoint"] == "192.0.2.1:1" else "not that one")

        bus.answerers["link.connect"] = connect
        async with signal(bus, "192.0.2.1:1", "192.0.2.9:9"):
            assert await contact(bus) == {
                "name": "192.0.2.9:9",
                "state": "waiting",
                "node": None,
                "fault": "not that one",
            }
            states = [bootstrap["state"] for bootstrap in (await bus.call("status"))["bootstraps"]]
            assert states[0] == "self"

    asyncio.run(story())


def test_of_several_nodes_behind_one_name_the_first_to_answer_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, {"boot": ["192.0.2.7", "192.0.2.8", "192.0.2.9"]})
    monkeypatch.setattr(dialer, "HEAD_START", 0.01)

    async def story() -> None:
        bus, late = FakeBus(), asyncio.Event()

        async def connect(body: JsonObject) -> JsonObject:
            if body["endpoint"] == "192.0.2.7:1":
                await late.wait()
                return await answer_as(OTHER)(body)
            return await answer_as(PEER)(body)

        bus.answerers["link.connect"] = connect
        async with signal(bus, "boot:1"):
            assert (await contact(bus))["node"] == PEER
            late.set()
            assert await bus.told.get() == ("link.release", {"node": OTHER, "kind": "bootstrap"}, ())
            assert len(bus.requests) == 2

    asyncio.run(story())


def test_rendezvous_both_ways() -> None:
    async def story() -> None:
        bus = FakeBus()
        async with signal(bus):
            bus.deliver("link.rendezvous", {"node": PEER, "candidates": ["192.0.2.1:1"]})
            action, body, frames = await bus.told.get()
            assert (action, body) == ("link.send", {"to": PEER, "mode": "session", "role": "signal"})
            theirs = pack("198.51.100.1:2")
            assert theirs is not None
            answer = encode(Answer(decode(frames[0]).id, (theirs,), 2, theirs, False))
            await bus.call("peer_message", {"sender": PEER, "mode": "session"}, [answer])
            nat = {"mapping": "endpoint-independent", "endpoint": "198.51.100.1:2", "able": False}
            probe = {"node": PEER, "candidates": ["198.51.100.1:2"], "nat": nat, "early": False}
            assert await bus.told.get() == ("link.probe", probe, ())
            bus.deliver("link.up", {"node": PEER, "endpoint": "x", "kinds": [], "initiator": True})

            offer = encode(Offer(bytes(8), (theirs,)))
            await bus.call("peer_message", {"sender": OTHER, "mode": "session"}, [offer])
            action, body, frames = await bus.told.get()
            assert (action, body["to"]) == ("link.send", OTHER)
            assert decode(frames[0]) == Answer(bytes(8), (pack("192.0.2.1:1") or b"",))
            probe |= {"node": OTHER, "nat": {"mapping": "unknown", "endpoint": None, "able": True}, "early": True}
            assert await bus.told.get() == ("link.probe", probe, ())
            assert (await bus.call("status"))["counters"]["attempts_succeeded"] == 1

    asyncio.run(story())


def test_a_routed_message_is_dropped_and_a_sealed_one_is_heard() -> None:
    async def story() -> None:
        bus = FakeBus()
        offer = encode(Offer(bytes(8), ()))
        async with signal(bus):
            await bus.call("peer_message", {"sender": PEER, "mode": "routed"}, [offer])
            assert bus.told.empty()
            assert (await bus.call("status"))["counters"] == {"unproven": 1}
            await bus.call("peer_message", {"sender": PEER, "mode": "session"}, [offer])
            assert not bus.told.empty()

    asyncio.run(story())


def test_a_flood_of_messages_makes_no_flood_of_requests() -> None:
    async def story() -> None:
        bus = FakeBus()
        async with signal(bus):
            message = {"sender": PEER, "mode": "session"}
            await asyncio.gather(*(bus.call("peer_message", message, [b"nonsense"]) for _ in range(100)))
            assert [action for action, _ in bus.requests] == ["link.candidates"]
            assert (await bus.call("status"))["counters"] == {"invalid": 100}

    asyncio.run(story())


def test_a_bootstrap_that_can_not_be_one_is_an_error_that_names_its_place() -> None:
    with pytest.raises(ConfigError) as caught:
        msgspec.convert({"bootstraps": ["ok:1", "host:99999"]}, Settings)
    assert str(caught.value) == (
        "modules.signal.bootstraps[1]: 'host:99999': port '99999' is not a number from 1 to 65535"
    )


def test_the_module_says_what_it_is() -> None:
    spec = ipop_module()
    assert (spec.role, spec.needs) == ("signal", ("link",))
    jsonschema.Draft202012Validator.check_schema(dict(spec.schema))
    jsonschema.validate({"bootstraps": ["a:1"]}, spec.schema)
    assert msgspec.convert({"bootstraps": []}, Settings) == Settings()
