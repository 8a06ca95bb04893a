"""The server, on a real port: what it refuses, and what a client may cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ipop_core.bus.api import Reply
from ipop_core.errors import BusError
from ipop_core.testing import MemoryBus, module_context
from ipop_modules.monitor import commands, server
from ipop_modules.monitor.board import MAX_WATCHERS
from ipop_modules.monitor.module import NICENESS, Monitor
from ipop_modules.monitor.settings import Settings
from tests.monitor.roles import core_status, roles, serving


class Client:
    def __init__(self, bus: MemoryBus, guest: Any, port: int, token: str) -> None:
        self.bus = bus
        self.guest = guest
        self.port = port
        self.token = token

    async def send(self, data: bytes) -> bytes:
        """Send it as it is; all that comes back until the other side closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            async with asyncio.timeout(10):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def get(self, path: str, *headers: str, host: str = "127.0.0.1", method: str = "GET") -> tuple[int, str]:
        head = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""])
        answer = (await self.send(head.encode())).decode()
        return int(answer.split()[1]), answer

    async def counters(self) -> dict[str, int]:
        return dict((await self.guest.request("monitor", "status")).body["counters"])


def with_client(folder: Path, work: Callable[[Client], Awaitable[None]], listen: str = "127.0.0.1:0") -> None:
    async def run() -> None:
        async with serving(folder, listen) as (_, bus):
            guest = await bus.connect()
            invited = (await guest.request("monitor", "invite")).body
            port = int(invited["metrics"].rpartition(":")[2].partition("/")[0])
            await work(Client(bus, guest, port, invited["token"]))

    asyncio.run(run())


def test_metrics_on_loopback_need_no_token(tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        status, answer = await client.get("/metrics")
        assert status == 200
        assert "ipop_ready 1.0" in answer
        assert "content-security-policy: default-src 'none'" in answer.lower()

    with_client(tmp_path, work)


def test_beyond_loopback_metrics_need_the_token(tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        assert (await client.get("/metrics"))[0] == 401
        assert (await client.get("/metrics", "Authorization: Bearer " + "x" * 24))[0] == 401
        assert (await client.get("/metrics", "Authorization: Bearer é"))[0] == 401
        assert (await client.get(f"/metrics?token={client.token}"))[0] == 401
        status, answer = await client.get("/metrics", f"Authorization: Bearer {client.token}")
        assert (status, client.token in answer) == (200, False)
        assert (await client.counters())["refused_token"] == 4

    with_client(tmp_path, work, "0.0.0.0:0")


def test_a_foreign_name_is_refused(tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        bearer = f"Authorization: Bearer {client.token}"
        assert (await client.get("/metrics", bearer, host="rebound.example"))[0] == 421
        assert (await client.get("/metrics", "Host: rebound.example"))[0] in (400, 421)
        assert (await client.send(b"GET /metrics HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 421 ")
        assert (await client.get("/metrics", host="localhost:80"))[0] == 200

    with_client(tmp_path, work)


def test_odd_and_huge_requests(tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        assert (await client.get("/metrics", method="DELETE"))[0] == 405
        assert (await client.get("/../../etc/passwd"))[0] in (401, 404)
        for odd in (b"\x16\x03\x01\x02\x00" * 50, b"GET\r\n\r\n", b"\0" * 100 + b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
            assert not (await client.send(odd)).startswith(b"HTTP/1.1 200")
        assert b" 400 " in (await client.send(b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 60_000))[:30]
        flood = b"POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n" + b"b" * 300_000
        assert not (await client.send(flood)).startswith(b"HTTP/1.1 200")
        assert (await client.get("/metrics"))[0] == 200

    with_client(tmp_path, work)


def test_whoever_is_late_with_the_request_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.2)

    async def work(client: Client) -> None:
        assert await client.send(b"GET /metrics HTTP/1.1\r\nHost: ") == b""
        assert await client.send(b"") == b""
        assert (await client.counters())["refused_late"] == 2

    with_client(tmp_path, work)


def test_connections_are_bounded(tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", client.port) for _ in range(server.MAX_CONNECTIONS)]
        assert await client.send(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") == b""
        assert (await client.counters())["refused_too_many"] >= 1
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()
        assert (await client.get("/metrics"))[0] == 200

    with_client(tmp_path, work)


def test_a_taken_port_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipop_modules.monitor.module.TRY_AGAIN", 0.05)

    async def run() -> None:
        taken = server.listen("127.0.0.1", 0)
        port = taken.getsockname()[1]
        async with roles() as (bus, _):
            client = await bus.connect("monitor")
            monitor = Monitor(module_context(Settings(f"127.0.0.1:{port}"), bus=client, folder=tmp_path))
            await monitor.start()
            client.started()
            guest = await bus.connect()
            with pytest.raises(BusError, match="taken by another program"):
                await guest.request("monitor", "invite")
            taken.close()
            async with asyncio.timeout(10):
                while (await guest.request("monitor", "status")).body["listening"] is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await monitor.stop()

    asyncio.run(run())


def test_the_command_tells_where_the_page_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(client: Client) -> None:
        told = (await client.guest.request("monitor", "invite")).body
        monkeypatch.setattr(commands, "ask", lambda *_: Reply(told))
        plain = CliRunner().invoke(commands.monitor, []).output
        assert f"http://127.0.0.1:{client.port}/#{client.token}" in plain
        assert json.loads(CliRunner().invoke(commands.monitor, ["--json"]).output) == told

    with_client(tmp_path, work)


def test_the_command_says_how_to_turn_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def off(*_: Any) -> None:
        raise BusError("no-role", "monitor.invite: nobody fills the role monitor")

    monkeypatch.setattr(commands, "ask", off)
    assert "the monitor is off" in str(CliRunner().invoke(commands.monitor, []).exception)


async def watch(client: Client, *headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write("\r\n".join(["GET /events HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode())
    return reader, writer


def test_the_page_is_open_and_what_it_shows_is_not(tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        for path in ("/", "/page.css", "/page.js", "/d3.min.js", "/d3.LICENSE"):
            status, answer = await client.get(path)
            assert (status, client.token in answer) == (200, False)
        for path, method in (("/events", "GET"), ("/session", "POST"), ("/token", "GET")):
            assert (await client.get(path, method=method))[0] == 401
        bearer = f"Authorization: Bearer {client.token}"
        status, answer = await client.get("/session", bearer, method="POST")
        assert status == 204
        cookie = f"ipop-monitor-{client.port}={client.token}"
        assert f"set-cookie: {cookie}; HttpOnly; Path=/; SameSite=strict" in answer
        assert (await client.get("/session", f"Cookie: other=1; {cookie}", method="POST"))[0] == 204
        assert (await client.get("/session", f"Cookie: {cookie}x", method="POST"))[0] == 401

    with_client(tmp_path, work)


def test_a_watcher_is_told_and_then_forgotten(tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        reader, writer = await watch(client, f"Authorization: Bearer {client.token}")
        async with asyncio.timeout(10):
            data = await reader.readuntil(b"event: ring")
        assert b"event: peers" in data
        assert await watchers(client) == 1
        writer.close()
        async with asyncio.timeout(10):
            while await watchers(client):  # noqa: ASYNC110 - over the bus
                await asyncio.sleep(0.02)

    with_client(tmp_path, work)


def test_when_the_last_watcher_has_gone_nobody_is_asked_any_more(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as (monitor, _):
            watching = monitor._watching
            events = watching.board.watch()
            assert (await anext(events)).startswith(b"event: ")
            assert len(watching._tasks) == 2
            tasks = list(watching._tasks)
            await events.aclose()
            assert watching._tasks == []
            await asyncio.gather(*tasks, return_exceptions=True)
            assert all(task.cancelled() for task in tasks)

    asyncio.run(run())


def test_the_monitor_gives_way_where_it_has_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr("os.nice", given.append)

    async def run() -> None:
        async with serving(tmp_path):
            assert given == []  # it shares the controller's
            controller = core_status() | {"pid": 1}
            monkeypatch.setattr("tests.monitor.roles.core_status", lambda: controller)
            async with serving(tmp_path / "other"):
                assert given == [NICENESS]

    (tmp_path / "other").mkdir()
    asyncio.run(run())


async def watchers(client: Client) -> int:
    return int((await client.guest.request("monitor", "status")).body["watchers"])


def test_watchers_are_bounded(tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        bearer = f"Authorization: Bearer {client.token}"
        there = [await watch(client, bearer) for _ in range(MAX_WATCHERS)]
        for reader, _ in there:
            await reader.readuntil(b"event: ")
        assert (await client.get("/events", bearer))[0] == 503
        for _, writer in there:
            writer.close()

    with_client(tmp_path, work)


def test_a_watcher_that_reads_again_in_time_stays_and_one_that_does_not_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with serving(tmp_path) as (monitor, bus):
            guest = await bus.connect()
            invited = (await guest.request("monitor", "invite")).body
            port = int(invited["metrics"].rpartition(":")[2].partition("/")[0])
            client = Client(bus, guest, port, invited["token"])
            reader, writer = await watch(client, f"Authorization: Bearer {client.token}")
            board = monitor._watching.board
            await reader.readuntil(b"event: ring")
            assert monitor._server is not None
            (connection,) = monitor._server.server_state.connections
            assert isinstance(connection, server._Connection)
            begun = connection._deadline
            async with asyncio.timeout(20):
                for number in count():
                    board.put("log", [f"{number}" + "x" * 100_000])
                    await asyncio.sleep(0)
                    if connection._deadline is not begun:  # one for the reading instead of that for the request
                        break
                while connection._deadline is not None:
                    assert await reader.read(1 << 20)
            monkeypatch.setattr(server, "STUCK_SECONDS", 0.2)
            async with asyncio.timeout(20):
                for number in count():
                    board.put("log", [f"{number}" + "x" * 100_000])
                    await asyncio.sleep(0.005)
                    if (await client.counters()).get("refused_stuck"):
                        break
                while await watchers(client):  # noqa: ASYNC110 - over the bus
                    await asyncio.sleep(0.02)
            writer.close()

    asyncio.run(run())
