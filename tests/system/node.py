"""One real node: a controller on a host of the laboratory, with its configuration, its folders and its log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ipop_core.bus.api import Bus, Event, JsonObject
from ipop_core.cli.client import NoControllerError, on_bus
from ipop_core.errors import IpopError
from ipop_core.folders import bus_socket
from ipop_core.lab import Host

BIN = Path(sys.executable).parent
POLL = 0.01
BUSY = 10.0
Result = TypeVar("Result")


class Node:
    """`modules` are the sections of the configuration; `address` is the virtual address without its prefix."""

    def __init__(
        self,
        name: str,
        host: Host,
        folder: Path,
        modules: dict[str, Any],
        *,
        namespace: Any = None,
        state: Path | None = None,
    ) -> None:
        self.name = name
        self.host = host
        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.run_folder = self.folder / "run"
        self.log = self.folder / "log"
        self.config = self.folder / "controller.json"
        self.document: dict[str, Any] = {
            "node": {"name": name, "state": str(state or self.folder / "state"), "run": str(self.run_folder)},
            "modules": modules,
        }
        if namespace is not None:
            self.document["namespace"] = namespace
        self.process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"Node({self.name!r})"

    @property
    def addresses(self) -> list[str]:
        given = self.document["modules"]["tincan"]["address"]
        return [cidr.partition("/")[0] for cidr in ([given] if isinstance(given, str) else given)]

    @property
    def address(self) -> str:
        return self.addresses[0]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    # Its life.

    def start(self) -> Node:
        """Start the controller and return at once; see `ready`."""
        return self.start_as([str(BIN / "ipop-controller")])

    def start_as(self, program: list[str]) -> Node:
        """`start`, with another program in the controller's place."""
        self.config.write_text(json.dumps(self.document))
        with self.log.open("ab") as log:
            command = [*program, "-c", str(self.config)]
            self.process = self.host.popen(command, stdout=log, stderr=log)
        return self

    def ready(self, timeout: float = 20.0) -> Node:
        """Return once every module runs, the node is in the ring and its addresses are its own."""
        self.until("core", "status", lambda body: body["ready"], "core.module", timeout=timeout)
        self.until(
            "topology",
            "status",
            lambda body: body["joined"] and all(claim["state"] == "registered" for claim in body["registered"]),
            "topology.joined",
            "topology.registered",
            timeout=timeout,
        )
        self.until("link", "status", lambda body: not body["card"] or body["card"]["up"], "link.card", timeout=timeout)
        return self

    def stop(self, number: int = signal.SIGTERM, timeout: float = 10.0) -> int:
        """Signal the controller and wait for its end; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout)

    def end(self, timeout: float = 10.0) -> tuple[int, str]:
        """Wait for the controller to end of itself: exit code, and all that it said."""
        assert self.process is not None
        return self.process.wait(timeout), self.log.read_text()

    def processes(self) -> list[int]:
        """The controller and everything that descends from it."""
        return list(family(self.pid))

    def module_pid(self, module: str) -> int:
        modules = self.ask("core", "status")["modules"]
        return next(int(item["pid"]) for item in modules if item["name"] == module)

    # What it says.

    def ask(self, role: str, action: str, body: JsonObject | None = None, timeout: float = 5.0) -> JsonObject:
        async def work(bus: Bus) -> JsonObject:
            return (await bus.request(role, action, body, timeout=timeout)).body

        return self.on_bus(work)

    def on_bus(self, work: Callable[[Bus], Awaitable[Result]]) -> Result:
        """As a command, but with more patience: an emulated machine that is busy may keep a controller waiting."""
        deadline = time.monotonic() + BUSY
        while True:
            try:
                return asyncio.run(on_bus(self.run_folder, work))
            except NoControllerError as error:
                if "does not answer" not in str(error) or time.monotonic() > deadline:
                    raise

    def until(
        self,
        role: str,
        action: str,
        wanted: Callable[[JsonObject], Any],
        *topics: str,
        body: JsonObject | None = None,
        timeout: float = 10.0,
    ) -> JsonObject:
        """Ask, now and after every event of `topics`, until the answer is as `wanted`. Raises AssertionError."""
        deadline = time.monotonic() + timeout
        last: Any = "no answer"

        async def work(bus: Bus) -> JsonObject:
            nonlocal last
            happened = asyncio.Event()
            for topic in topics:
                await bus.subscribe(topic, lambda _: happened.set())
            while time.monotonic() < deadline:
                happened.clear()
                with contextlib.suppress(IpopError):  # a module that is not there yet
                    last = (await bus.request(role, action, body, timeout=3.0)).body
                    if wanted(last):
                        return dict(last)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.25):
                        await happened.wait()
            raise AssertionError(
                f"{self.name}: {role}.{action} is not as wanted after {timeout:g} s: {last}{self._tail}"
            )

        self._wait_for_bus(deadline)
        while True:
            try:
                found = self.on_bus(work)
            except IpopError as error:  # no bus yet
                ended = self.process is not None and self.process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise AssertionError(f"{self.name}: {error}{self._tail}") from error
                time.sleep(POLL)
            else:
                return dict(found)

    def events_during(self, topics: Iterable[str], work: Callable[[], Result]) -> tuple[Result, list[Event]]:
        """Do `work` and collect the events of `topics` meanwhile."""

        async def collect(bus: Bus) -> tuple[Result, list[Event]]:
            seen: list[Event] = []
            for topic in topics:
                await bus.subscribe(topic, seen.append)
            return await asyncio.to_thread(work), seen

        return self.on_bus(collect)

    def counters(self) -> dict[str, int]:
        """Those of the role link."""
        return dict(self.ask("link", "status")["counters"])

    def node_id(self) -> str:
        return str(self.ask("core", "status")["node"])

    def path_to(self, other: Node) -> str:
        """`direct`, `overlay`, `none`, or `stranger` when there is no session."""
        return _path(self.ask("link", "peers"), other.node_id())

    def until_direct(self, other: Node, timeout: float = 15.0) -> None:
        """Return once a direct path to the other carries the traffic (somebody must have asked for one)."""
        self.until_path(other, "direct", timeout)

    def until_path(self, other: Node, path: str, timeout: float = 15.0) -> None:
        """Return once the traffic to the other goes by such a path."""
        node = other.node_id()
        self.until("link", "peers", lambda body: _path(body, node) == path, "link.*", timeout=timeout)

    def cli(self, *arguments: str, timeout: float = 20.0) -> subprocess.CompletedProcess[str]:
        """Run `ipop -c its-configuration ...` on its host."""
        return self.host.run([str(BIN / "ipop"), "-c", str(self.config), *arguments], check=False, timeout=timeout)

    # What its host does over the card.

    def ping(self, address: str, *options: str, count: int = 3, timeout: float = 30.0) -> Ping:
        command = ["ping", "-n", "-c", str(count), "-i", "0.2", "-W", "5", *options, address]
        return Ping(self.host.run(command, check=False, timeout=timeout).stdout)

    def until_answered(self, address: str, timeout: float = 15.0) -> float:
        """Ping every 0.2 s until the first answer; how many seconds that took. Raises AssertionError."""
        begun = time.monotonic()
        while time.monotonic() < begun + timeout:
            if self.ping(address, "-W", "0.2", count=1).received:
                return time.monotonic() - begun
        raise AssertionError(f"{self.name}: no answer from {address} within {timeout:g} s{self._tail}")

    def _wait_for_bus(self, deadline: float) -> None:
        """Trying the bus before it is there takes an emulated machine's time, which its nodes need for their start."""
        socket = bus_socket(self.run_folder)
        while not socket.exists() and time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                return
            time.sleep(POLL)

    @property
    def _tail(self) -> str:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return "".join(f"\n  {self.name}| {line}" for line in lines[-15:])


def stop_all(nodes: Iterable[Node], timeout: float = 20.0) -> list[int]:
    """Stop them at the same time; the controllers' exit codes."""
    processes = [node.process for node in nodes if node.process is not None]
    for process in processes:
        process.terminate()
    return [process.wait(timeout) for process in processes]


class Ping:
    """What `ping` found."""

    def __init__(self, output: str) -> None:
        self.output = output
        statistics = next(line for line in output.splitlines() if " packets transmitted" in line)
        numbers = [word for word in statistics.replace(",", "").split() if word.isdigit()]
        self.sent, self.received = int(numbers[0]), int(numbers[1])

    def __repr__(self) -> str:
        return self.output


def _path(peers: JsonObject, node: str) -> str:
    return next((str(peer["path"]) for peer in peers["peers"] if peer["node"] == node), "stranger")


def family(pid: int) -> Iterator[int]:
    """The process and all its descendants."""
    yield pid
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from family(int(child))


def alive(pids: Iterable[int]) -> list[int]:
    """Which of these processes live (a zombie does not)."""
    living = []
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX":
                living.append(pid)
    return living


def wait_until_dead(pids: Iterable[int], timeout: float) -> list[int]:
    """Those that still live after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pids = list(pids)
    while (left := alive(pids)) and time.monotonic() < deadline:
        time.sleep(POLL)
    return left


def kill(pid: int) -> float:
    """SIGKILL; the moment, as `time.monotonic()` counts."""
    moment = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return moment
