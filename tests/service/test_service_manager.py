"""The words between the node and the service manager, over a real socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipop_core.controller.service_manager import ServiceManager
from tests.core_supervision.node import Node, story, until_ready


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


def test_nothing_is_said_where_nobody_asked() -> None:
    silent = ServiceManager({})
    silent.ready()
    assert silent.beat is None


def test_an_abstract_socket_and_a_watchdog_for_this_process() -> None:
    name = f"ipop-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        sock.settimeout(5)
        environment = {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
        found = ServiceManager(environment)
        assert (found.beat, environment) == (1.0, {})
        found.ready()
        assert sock.recv(100) == b"READY=1"


def test_a_watchdog_for_another_process_is_not_ours() -> None:
    environment = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}
    assert ServiceManager(environment).beat is None


def test_a_manager_that_is_gone_is_no_fault() -> None:
    ServiceManager({"NOTIFY_SOCKET": "/nowhere/at/all"}).ready()


def test_a_manager_that_does_not_read_holds_nobody_up(manager: socket.socket) -> None:
    found = ServiceManager({"NOTIFY_SOCKET": manager.getsockname()})
    room = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())

    def say_too_much() -> None:
        for _ in range(room + 10):
            found.alive()

    saying = threading.Thread(target=say_too_much, daemon=True)
    saying.start()
    saying.join(10)
    assert not saying.is_alive()


async def word(sock: socket.socket, wanted: str, unless: str = "-") -> str:
    """Read until that word comes."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(15):
        while True:
            said = (await loop.sock_recv(sock, 4096)).decode()
            assert said != unless
            if said.startswith(wanted):
                return said


async def silence(sock: socket.socket, word: str, seconds: float) -> bool:
    """Whether that word is not said for so long."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            while (await loop.sock_recv(sock, 4096)).decode() != word:
                pass
    except TimeoutError:
        return True
    return False


@pytest.mark.slow
@story
async def test_a_node_tells_when_it_is_ready_alive_and_stopping(
    tmp_path: Path, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "600000")
    node = Node(tmp_path, {"back": {}})
    process = await node.spawn()
    try:
        await word(manager, "READY=1", unless="WATCHDOG=1")
        await word(manager, "STATUS=every module runs")
        await word(manager, "WATCHDOG=1")
        await until_ready(node)
        async with node.client() as client:
            module = (await client.request("back", "pid")).body["pid"]
            await client.request("core", "reload")
            await word(manager, "RELOADING=1")
            await word(manager, "READY=1")
            os.kill(module, signal.SIGSTOP)
            # Its heartbeats are missed, it is killed, and stays away for as long as it ends at its start.
            (tmp_path / "state" / "back" / "starts").write_text("")
            await word(manager, "STATUS=back is restarting")
            await word(manager, "STATUS=every module runs")
            await word(manager, "WATCHDOG=1")
        process.send_signal(signal.SIGSTOP)
        assert await silence(manager, "WATCHDOG=1", 1.0) or await silence(manager, "WATCHDOG=1", 1.0)
        process.send_signal(signal.SIGCONT)
        await word(manager, "WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        await word(manager, "STOPPING=1")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await node.end()


@pytest.mark.slow
@story
async def test_the_watchdog_hears_nothing_while_a_module_does_not_run(
    tmp_path: Path, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    node = Node(tmp_path, {"back": {}})
    process = await node.spawn()
    try:
        await word(manager, "WATCHDOG=1")
        # It can't start again while its folder is open to others, and is tried again and again.
        (tmp_path / "state" / "back").chmod(0o777)
        async with node.client() as client:
            client.notify("back", "die")
        await word(manager, "STATUS=back is restarting")
        assert await silence(manager, "WATCHDOG=1", 1.0)
        (tmp_path / "state" / "back").chmod(0o700)
        await word(manager, "WATCHDOG=1")
    finally:
        process.send_signal(signal.SIGTERM)
        await node.end()
