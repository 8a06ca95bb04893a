"""A real controller with fake modules, in its own folder, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ipop_core.bus import contracts
from ipop_core.bus.zeromq import connect_client
from ipop_core.errors import IpopError

FAKES = Path(__file__).parent / "fakes"


def story(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Lets a test be written as a coroutine."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


class Node:
    def __init__(self, folder: Path, modules: dict[str, Any]) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.config = folder / "controller.json"
        self.config.write_text(
            json.dumps({"node": {"name": "test", "state": "state", "run": "run"}, "modules": modules})
        )
        dist = folder / "ipop_fakes-1.0.dist-info"
        dist.mkdir(exist_ok=True)
        (dist / "METADATA").write_text("Metadata-Version: 2.1\nName: ipop-fakes\nVersion: 1.0\n")
        (dist / "entry_points.txt").write_text("[ipop.modules]\nback = ipop_fakes.back\nfront = ipop_fakes.front\n")
        self.process: asyncio.subprocess.Process | None = None

    async def spawn(self, *options: str) -> asyncio.subprocess.Process:
        environment = {**os.environ, "PYTHONPATH": f"{self.folder}:{FAKES}"}
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ipop_core.controller.main",
            "-c",
            str(self.config),
            *options,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return self.process

    @property
    def socket(self) -> Path:
        return self.run / "bus.sock"

    def client(self) -> Any:
        return connect_client(self.socket, contracts.load())

    async def end(self) -> tuple[int, str]:
        """Exit status and what it said."""
        assert self.process is not None
        _, errors = await asyncio.wait_for(self.process.communicate(), 10)
        return self.process.returncode or 0, errors.decode()


async def until_ready(node: Node) -> None:
    """Wait until every module of the node runs."""
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(IpopError):  # not there yet
                async with node.client() as client:
                    if (await client.request("core", "status")).body["ready"]:
                        return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(folder: Path, modules: dict[str, Any]) -> AsyncIterator[Node]:
    node = Node(folder, modules)
    process = await node.spawn()
    try:
        await until_ready(node)
        yield node
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            _, errors = await asyncio.wait_for(process.communicate(), 10)
            print(errors.decode())


def alive(pids: Iterable[int]) -> list[int]:
    """Which of these processes live (a zombie does not)."""
    living = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            continue
        if state not in "ZX":
            living.append(pid)
    return living


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in family(int(child)))]
