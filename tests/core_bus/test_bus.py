"""What a module may rely on, over both transports."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from ipop_core.bus.api import Call, Event, Reply
from ipop_core.bus.client import MAX_HANDLERS
from ipop_core.errors import BusError, IpopError

from .stage import Stage, stage, story

pytestmark = pytest.mark.parametrize("transport", ["memory", "zeromq"])


PROBERS = itertools.count()


async def echo(call: Call) -> dict[str, str]:
    return {"text": call.body["text"], "sender": call.sender}


async def code_of(stage: Stage, role: str, action: str, body: dict[str, object] | None = None) -> tuple[str, str]:
    """How a request of a guest fails."""
    with pytest.raises(BusError) as caught:
        await stage.client(f"prober-{next(PROBERS)}").request(role, action, body, timeout=0.3)
    return caught.value.code, caught.value.message


@story
async def test_ask_and_answer(transport: str, tmp_path: Path) -> None:
    async with stage(transport, tmp_path) as bus:
        server = await bus.module("tester", "test")
        server.serve("echo", echo)
        asker = await bus.module("front", "front")
        assert (await asker.request("test", "echo", {"text": "ä"})).body == {"text": "ä", "sender": "front"}


@story
async def test_binary_frames_travel_both_ways(transport: str, tmp_path: Path) -> None:
    async def carry(call: Call) -> Reply:
        return Reply({}, [call.frames[1] + call.frames[0]])

    async with stage(transport, tmp_path) as bus:
        (await bus.module("tester", "test")).serve("carry", carry)
        reply = await bus.client("asker").request("test", "carry", {}, [b"\x00", bytes(70_000)])
        assert list(reply.frames) == [bytes(70_001)]


@story
async def test_who_is_cancelled_while_the_answer_comes_does_not_go_on(transport: str, tmp_path: Path) -> None:
    """A task that asks in a loop would never end otherwise, and the stop of its module wait for it."""
    async with stage(transport, tmp_path) as bus:
        (await bus.module("tester", "test")).serve("echo", echo)
        asker = bus.client("asker")
        asking = asyncio.create_task(asker.request("test", "echo", {"text": "still there?"}))
        await asyncio.sleep(0)
        (answer,) = asker._answers.values()
        answer.set_result(Reply({}, ()))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


@story
async def test_requests_at_once_are_not_mixed_up(transport: str, tmp_path: Path) -> None:
    async with stage(transport, tmp_path) as bus:
        (await bus.module("tester", "test")).serve("echo", echo)
        asker = bus.client("asker")
        replies = await asyncio.gather(*(asker.request("test", "echo", {"text": str(n)}) for n in range(200)))
        assert [reply.body["text"] for reply in replies] == [str(n) for n in range(200)]


@story
async def test_events_reach_their_subscribers_in_order(transport: str, tmp_path: Path) -> None:
    async with stage(transport, tmp_path) as bus:
        tester, listener = await bus.module("tester", "test"), bus.client("listener")
        heard: asyncio.Queue[Event] = asyncio.Queue()

        def broken(_: Event) -> None:
            raise ZeroDivisionError

        await listener.subscribe("test.*", broken)
        await listener.subscribe("test.done", heard.put_nowait)
        for number in range(20):
            tester.publish("test.done", {"what": number})
        events = [await heard.get() for _ in range(20)]
        assert [event.body["what"] for event in events] == list(range(20))
        assert {(event.topic, event.sender) for event in events} == {("test.done", "tester")}


@story
async def test_a_notification_is_heard_and_not_answered(transport: str, tmp_path: Path) -> None:
    heard: asyncio.Queue[Call] = asyncio.Queue()

    async def note(call: Call) -> None:
        await heard.put(call)

    async with stage(transport, tmp_path) as bus:
        (await bus.module("tester", "test")).serve("echo", note)
        bus.client("asker").notify("test", "echo", {"text": "hm"})
        assert (await heard.get()).body == {"text": "hm"}
        assert bus.hub.broker.counters.stray_answers == 0


@story
async def test_every_way_to_fail_has_its_code(transport: str, tmp_path: Path) -> None:
    async def refuse(_: Call) -> None:
        raise IpopError("no permission for /dev/net/tun")

    async def break_down(_: Call) -> None:
        raise ZeroDivisionError("secret")

    async def never(_: Call) -> None:
        await asyncio.Event().wait()

    async def lie(_: Call) -> dict[str, object]:
        return {"lie": 1}

    async with stage(transport, tmp_path) as bus:
        tester = await bus.module("tester", "test")
        assert (await code_of(bus, "crypto", "status"))[0] == "no-role"
        assert (await code_of(bus, "test", "dance"))[0] == "unknown-action"
        assert await code_of(bus, "test", "echo", {"text": 5}) == (
            "invalid",
            "test.echo: body.text: 5 is not of type 'string'",
        )
        assert await code_of(bus, "test", "echo") == ("no-role", "test.echo: the module is still starting")
        tester.started()
        assert (await code_of(bus, "test", "echo"))[0] == "unknown-action"
        tester.serve("echo", refuse)
        tester.serve("wait", never)
        tester.serve("lie", lie)
        assert await code_of(bus, "test", "echo") == ("refused", "no permission for /dev/net/tun")
        assert (await code_of(bus, "test", "wait"))[0] == "timeout"
        assert (await code_of(bus, "test", "lie"))[0] == "failed"
        tester._handlers["echo"] = break_down
        code, message = await code_of(bus, "test", "echo")
        assert (code, "secret" in message, "Traceback" in message) == ("failed", False, False)


@story
async def test_the_receiver_checks_what_the_sender_did_not(transport: str, tmp_path: Path) -> None:
    async with stage(transport, tmp_path) as bus:
        (await bus.module("tester", "test")).serve("echo", echo)
        careless = bus.client("careless")
        careless._contracts = type(bus.contracts)([])
        with pytest.raises(BusError, match=r"body.text: 5 is not") as caught:
            await careless.request("test", "echo", {"text": 5})
        assert caught.value.code == "invalid"
        with pytest.raises(BusError, match="frames: 1 is not 0"):
            await careless.request("test", "echo", {"text": "x"}, [b""])
        with pytest.raises(BusError, match="is not a topic"):
            await careless.subscribe("everything", print)


@story
async def test_what_the_module_itself_does_wrong(transport: str, tmp_path: Path) -> None:
    async with stage(transport, tmp_path) as bus:
        tester = await bus.module("tester", "test")
        with pytest.raises(ValueError, match="contract"):
            tester.serve("dance", echo)
        with pytest.raises(BusError, match="'what' is a required property"):
            tester.publish("test.done")
        with pytest.raises(BusError, match="published by the role test"):
            tester.publish("link.up", {})
        with pytest.raises(BusError, match="not JSON"):
            tester.notify("stranger", "x", {"a": object()})


@story
async def test_a_heartbeat_is_answered_while_every_handler_is_busy(transport: str, tmp_path: Path) -> None:
    release, full, calls = asyncio.Event(), asyncio.Event(), itertools.count(1)

    async def wait(_: Call) -> None:
        if next(calls) == MAX_HANDLERS:
            full.set()
        await release.wait()

    async with stage(transport, tmp_path) as bus:
        tester, asker = await bus.module("tester", "test"), bus.client("asker")
        tester.serve("wait", wait)
        waiting = [asyncio.create_task(asker.request("test", "wait")) for _ in range(MAX_HANDLERS)]
        await full.wait()
        with pytest.raises(BusError) as caught:
            await asker.request("test", "wait")
        assert caught.value.code == "busy"
        await asker.request("test", "heartbeat")
        release.set()
        await asyncio.gather(*waiting)


@story
async def test_who_claims_a_role_or_another_name_gets_neither(transport: str, tmp_path: Path) -> None:
    async with stage(transport, tmp_path) as bus:
        tester = await bus.module("tester", "test", "secret-name")
        tester.serve("echo", echo)
        liar = bus.client("tester", "test")
        with pytest.raises(BusError) as caught:
            await liar.hello()
        assert caught.value.code == "refused"
        assert (await liar.request("test", "echo", {"text": ""})).body["sender"].startswith("guest-")
        await bus.client("listener").subscribe("test.done", lambda _: pytest.fail("heard a guest's event"))
        liar.publish("test.done", {"what": 1})
        await liar.request("test", "heartbeat")
        assert bus.hub.broker.counters.refused_events == 1


@story
async def test_a_module_that_ends_fails_what_waits_and_is_served_again_when_back(
    transport: str, tmp_path: Path
) -> None:
    called = asyncio.Event()

    async def never(_: Call) -> None:
        called.set()
        await asyncio.Event().wait()

    async with stage(transport, tmp_path) as bus:
        first, asker = await bus.module("tester", "test", "first"), bus.client("asker")
        first.serve("wait", never)
        waiting = asyncio.create_task(asker.request("test", "wait"))
        await called.wait()
        bus.hub.leave(b"first")
        with pytest.raises(BusError) as caught:
            await waiting
        assert caught.value.code == "failed"
        assert (await code_of(bus, "test", "echo", {"text": ""}))[0] == "no-role"
        (await bus.module("tester", "test", "second")).serve("echo", echo)
        assert (await asker.request("test", "echo", {"text": "again"})).body["text"] == "again"
