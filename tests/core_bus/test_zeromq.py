"""What only the wire between processes can do wrong."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipop_core.bus import contracts
from ipop_core.bus.api import Call
from ipop_core.bus.zeromq import HIGH_WATER, connect_client
from ipop_core.errors import IpopError

from .stage import stage, story


async def until(true: Callable[[], bool]) -> None:
    """Wait for what no event tells: another thread, or ZeroMQ's own."""
    while not true():  # noqa: ASYNC110 - there is nothing to await
        await asyncio.sleep(0.001)


async def echo(call: Call) -> dict[str, str]:
    return {"text": call.body["text"]}


@story
async def test_the_socket_is_its_owners_alone(tmp_path: Path) -> None:
    async with stage("zeromq", tmp_path) as bus:
        assert bus.path.stat().st_mode & 0o777 == 0o600
    assert not bus.path.exists()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(st.lists(st.binary(max_size=200), min_size=1, max_size=3), max_size=8), raw=st.binary())
def test_random_bytes_on_the_socket_hurt_nobody(
    tmp_path_factory: pytest.TempPathFactory, messages: list[list[bytes]], raw: bytes
) -> None:
    @story
    async def test() -> None:
        async with stage("zeromq", tmp_path_factory.mktemp("bus")) as bus:
            (await bus.module("tester", "test")).serve("echo", echo)
            transport = bus.transport("rubbish")
            transport.open(lambda _: None)
            for parts in messages:
                transport.send(parts)
            with socket.socket(socket.AF_UNIX) as plain:
                plain.connect(str(bus.path))
                plain.send(raw)
            assert (await bus.client("asker").request("test", "echo", {"text": "x"})).body == {"text": "x"}
            transport.send([b"the last"])
            await until(lambda: bus.hub.broker.counters.garbage == len(messages) + 1)
            transport.close()

    test()


@story
async def test_a_client_that_reads_nothing_holds_up_nobody(tmp_path: Path) -> None:
    async with stage("zeromq", tmp_path) as bus:
        tester = await bus.module("tester", "test")
        tester.serve("echo", echo)
        asker = bus.client("asker")
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        slow = context.socket(zmq.DEALER)
        slow.setsockopt(zmq.RCVHWM, 1)
        slow.connect(f"ipc://{bus.path}")
        slow.send(b'{"kind":"request","id":1,"to":"core","action":"subscribe","body":{"topic":"test.done"}}')
        await until(lambda: bool(slow.poll(0)))
        for number in range(HIGH_WATER * 4):
            tester.publish("test.done", {"what": "x" * 2000})
            if number % 64 == 0:
                assert (await asker.request("test", "echo", {"text": "x"})).body == {"text": "x"}
        await asker.request("test", "echo", {"text": "x"})
        assert bus.hub.broker.counters.queue_full > 0
        context.destroy(linger=0)


@story
async def test_a_guest_that_went_away_is_forgotten(tmp_path: Path) -> None:
    async with stage("zeromq", tmp_path) as bus:
        tester, guest = await bus.module("tester", "test"), bus.client("guest")
        await guest.subscribe("test.done", print)
        await guest.close()

        def forgotten() -> bool:
            tester.publish("test.done", {"what": 1})
            return b"guest" not in bus.hub.broker._clients

        await until(forgotten)


@story
async def test_a_module_that_comes_back_under_its_old_name_is_served(tmp_path: Path) -> None:
    async with stage("zeromq", tmp_path) as bus:
        first = await bus.module("tester", "test", "same")
        second = await bus.module("tester", "test", "same")
        second.serve("echo", echo)
        assert (await bus.client("asker").request("test", "echo", {"text": "x"})).body == {"text": "x"}
        assert first.counters.garbage == 0


@story
async def test_a_command_finds_the_controller(tmp_path: Path) -> None:
    async with stage("zeromq", tmp_path) as bus:
        core = await bus.module("controller", "core")
        core.serve("stop", lambda _: asyncio.sleep(0))
        async with connect_client(bus.path, bus.contracts) as client:
            assert (await client.request("core", "stop")).body == {}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no controller is running there"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "no controller is running there"),
        (lambda path: path.write_text(""), "no controller is running there"),
    ],
)
def test_nobody_there_is_known_at_once(tmp_path: Path, make: object, words: str) -> None:
    path = tmp_path / "bus.sock"
    make(path)  # type: ignore[operator]  # a parametrised function
    begun = time.monotonic()
    with pytest.raises(IpopError, match=words):
        asyncio.run(_connect(path))
    assert time.monotonic() - begun < 0.5


def test_a_controller_that_does_not_answer_is_known_within_a_second(tmp_path: Path) -> None:
    path = tmp_path / "bus.sock"
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen()
        begun = time.monotonic()
        with pytest.raises(IpopError, match="does not answer"):
            asyncio.run(_connect(path))
        assert time.monotonic() - begun < 1.0


async def _connect(path: Path) -> None:
    async with connect_client(path, contracts.load()):
        pytest.fail("there is nobody")


@story
async def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = held()
    for round_ in range(3):
        folder = tmp_path / str(round_)
        folder.mkdir()
        async with stage("zeromq", folder) as bus:
            await bus.module("tester", "test")
    assert held() == before


def held() -> tuple[int, int]:
    """Open descriptors and threads of this process."""
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
