"""Real processes, real sockets: the controller and modules that misbehave."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ipop_core.bus.api import Event
from ipop_core.bus.client import BusClient
from ipop_core.errors import BusError

from .node import Node, alive, family, running

pytestmark = pytest.mark.slow

BOTH: dict[str, Any] = {"front": {}, "back": {}}


async def module_state(client: BusClient, name: str) -> dict[str, Any]:
    status = (await client.request("core", "status")).body
    return next(module for module in status["modules"] if module["name"] == name)


async def until_back(client: BusClient, restarts: int = 1) -> dict[str, Any]:
    """Wait until `back` runs again; its state."""
    async with asyncio.timeout(10):
        while True:
            state = await module_state(client, "back")
            if state["state"] == "running" and state["restarts"] >= restarts:
                return state
            await asyncio.sleep(0.01)


async def code_of(request: Awaitable[object]) -> str:
    with pytest.raises(BusError) as caught:
        await request
    return caught.value.code


def test_the_life_of_a_node(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, BOTH) as node:
            assert node.process is not None
            processes = family(node.process.pid)
            async with node.client() as client:
                status = (await client.request("core", "status")).body
                assert (status["name"], status["ready"], status["pid"]) == ("test", True, node.process.pid)
                assert [module["name"] for module in status["modules"]] == ["back", "front"]
                assert {module["pid"] for module in status["modules"]} < set(processes)
                answer = (await client.request("front", "ask", {"role": "back", "action": "pid"})).body
                assert answer["sender"] == "front"
                assert (answer["node"], answer["pid"] in processes) == (status["node"], True)
                assert await code_of(client.request("back", "break")) == "failed"
                await client.request("core", "levels", {"module": "back", "level": "error"})
                assert (await client.request("back", "level")).body == {"level": 40}
                assert (await client.request("front", "level")).body == {"level": 30}
                with pytest.raises(BusError, match="'nobody' is not one of controller, back, front"):
                    await client.request("core", "levels", {"module": "nobody", "level": "error"})
                await client.request("core", "stop")
            code, said = await node.end()
            assert code == 0, said
            assert alive(processes) == []
            assert (node.run / "stops").read_text().count("ModuleEnd") == 2
            assert not node.socket.exists()

    asyncio.run(story())


def test_a_killed_module_is_restarted_and_answers_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, BOTH) as node, node.client() as client:
            heard: list[Event] = []
            await client.subscribe("core.module", heard.append)
            await client.request("back", "keep", {"text": "carried over"})
            old = await module_state(client, "back")
            waiting = asyncio.create_task(client.request("back", "wait", {"seconds": 30}))
            await client.request("back", "heartbeat")
            killed = time.monotonic()
            signal_to(old["pid"])
            assert await code_of(waiting) == "failed"
            assert time.monotonic() - killed < 2
            new = await until_back(client)
            print(f"back after {time.monotonic() - killed:.3f} s")
            assert new["pid"] != old["pid"]
            assert (await client.request("front", "ask", {"role": "back", "action": "pid"})).body["pid"] == new["pid"]
            assert (await client.request("back", "held")).body == {"text": "carried over"}
            assert [event.body["state"] for event in heard] == ["restarting", "running"]

    asyncio.run(story())


def signal_to(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)


def test_requests_while_a_module_is_away_fail_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, {"back": {}}) as node, node.client() as client:
            codes: set[str] = set()
            for restarts in range(1, 4):
                assert await code_of(client.request("back", "die")) == "failed"
                while True:
                    begun = time.monotonic()
                    try:
                        await client.request("back", "pid")
                        break
                    except BusError as error:
                        codes.add(error.code)
                    assert time.monotonic() - begun < 1
                await until_back(client, restarts)
            assert codes == {"no-role"}

    asyncio.run(story())


def test_a_module_that_hangs_is_killed_and_restarted(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, BOTH) as node, node.client() as client:
            begun = time.monotonic()
            assert await code_of(client.request("back", "hang", timeout=8)) == "failed"
            assert 2 < time.monotonic() - begun < 6
            assert (await client.request("front", "pid")).body["pid"]
            await until_back(client)

    asyncio.run(story())


@pytest.mark.parametrize("victim", ["controller", "nursery"])
def test_a_killed_controller_leaves_nobody_behind(tmp_path: Path, victim: str) -> None:
    async def story() -> None:
        async with running(tmp_path, BOTH) as node:
            assert node.process is not None
            processes = family(node.process.pid)
            assert len(processes) == 4
            signal_to(processes[0 if victim == "controller" else 1])
            code, said = await node.end()
            deadline = time.monotonic() + 1
            while alive(processes):
                assert time.monotonic() < deadline, alive(processes)
                await asyncio.sleep(0.01)
            if victim == "nursery":
                assert code == 2
                assert "the process that forks the modules was killed" in said
                return
        async with running(tmp_path, BOTH) as again, again.client() as client:
            assert (await client.request("back", "pid")).body["pid"] not in processes

    asyncio.run(story())


def test_sigint_to_the_whole_group_stops_in_order(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, {"front": {"stop_seconds": 0.2}, "back": {}}) as node:
            assert node.process is not None
            processes = family(node.process.pid)
            for pid in reversed(processes):
                signal_to(pid, signal.SIGINT)
            code, said = await node.end()
            assert code == 0, said
            pids = [int(line.split()[1]) for line in (node.run / "stops").read_text().splitlines()]
            assert pids == [processes[3], processes[2]]

    asyncio.run(story())


def test_a_module_that_will_not_stop_is_not_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, {"back": {"stop_seconds": 60}}) as node:
            assert node.process is not None
            begun = time.monotonic()
            node.process.terminate()
            code, _ = await node.end()
            assert code == 0
            assert 1.5 < time.monotonic() - begun < 3.5

    asyncio.run(story())


@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_a_fault_at_start_is_one_line_and_status_2(tmp_path: Path, isolation: str) -> None:
    async def story() -> None:
        node = Node(
            tmp_path, {"back": {}, "front": {"fault": "no permission for /dev/net/tun", "isolation": isolation}}
        )
        await node.spawn()
        assert await node.end() == (2, "no permission for /dev/net/tun\n")
        stops = node.run / "stops"  # what never started is not told to stop
        assert not stops.exists() or "LocalDescriptors" not in stops.read_text()

    asyncio.run(story())


def test_a_module_that_breaks_at_start_is_tried_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, {"back": {"crash_times": 2}}) as node, node.client() as client:
            assert (await module_state(client, "back"))["restarts"] == 2

    asyncio.run(story())


def test_inline_and_process_modules_meet_on_one_bus(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, {"front": {}, "back": {"isolation": "inline"}}) as node, node.client() as client:
            assert node.process is not None
            answer = (await client.request("front", "ask", {"role": "back", "action": "pid"})).body
            assert answer["pid"] == node.process.pid
            await client.request("back", "keep", {"text": "inline"})
            assert (await client.request("back", "held")).body == {"text": "inline"}
            assert (await module_state(client, "back"))["isolation"] == "inline"

    asyncio.run(story())


def test_a_second_controller_says_who_is_first(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, {"back": {}}) as node:
            first = node.process
            assert first is not None
            second = Node(tmp_path, {"back": {}})
            await second.spawn()
            code, said = await second.end()
            assert code == 2
            assert said.count("\n") == 1
            assert f"pid {first.pid}" in said
            async with node.client() as client:
                assert (await client.request("back", "pid")).body

    asyncio.run(story())


@pytest.mark.parametrize(
    ("change", "options", "code", "words"),
    [
        (lambda node: None, ["--check"], 0, "is valid: 2 modules (back, front)"),
        (lambda node: node.config.unlink(), [], 2, "controller.json"),
        (lambda node: node.config.write_text("{"), ["--check"], 2, "controller.json"),
        (lambda node: node.config.write_text('{"modules": {"frond": {}}}'), [], 2, "did you mean front?"),
        (lambda node: node.config.write_text('{"modules": {"front": {}}}'), [], 2, "needs the role back"),
        (lambda node: None, ["--print-schema"], 0, '"crash_times"'),
    ],
)
def test_the_command_line(
    tmp_path: Path, change: Callable[[Node], None], options: list[str], code: int, words: str
) -> None:
    async def story() -> None:
        node = Node(tmp_path, BOTH)
        change(node)
        process = await node.spawn(*options)
        out, errors = await process.communicate()
        assert process.returncode == code, errors
        assert words in (errors if code else out).decode()
        assert b"Traceback" not in errors
        assert not node.run.exists()

    asyncio.run(story())
