"""The demo without root, TUN or namespaces: the same controllers over UDP on loopback, with cards in user space."""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from ipop_core.demo import programs
from ipop_core.demo.diary import Diary
from ipop_core.demo.evidence import Evidence
from ipop_core.demo.node import Node, stop
from ipop_core.demo.ping import Reply
from ipop_core.demo.place import ADDRESSES, BARE_NODES, COUNT, INTERVAL
from ipop_core.identity import load_or_create
from ipop_core.lab.commands import Command, run
from ipop_core.lab.interrupts import interrupts_deferred, termination_unwinds

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus, JsonObject

LOOPBACK: Final = "127.0.0.1"
PAYLOAD: Final = 56
"""Bytes, as ping's."""
CARD_POLL: Final = 0.02
ECHO_PATIENCE: Final = 6.0

WHAT_DIFFERS: Final = (
    "So there are no homes, no NATs and no network card of the kernel: the same eleven controllers talk over real UDP "
    "sockets on loopback, Alice's and Bob's cards are small IP endpoints in user space that send and answer pings, and "
    "which way the pings went is the nodes' own word instead of a capture. Keys, certificates, ring, directory, "
    "sessions and paths are those of any other node."
)


class ThisMachine:
    """Runs programs as they are."""

    def popen(
        self,
        command: Command,
        *,
        stdout: Any = None,
        stderr: Any = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=env, start_new_session=True
        )


class OnLoopback:
    name = "loopback"
    nat = ("open", "open")

    def __init__(self, reason: str) -> None:
        """`reason` is why the demo can't have networks of its own."""
        self.nodes: list[Node] = []
        self._reason = reason
        self._answered: list[Reply] = []
        self._stack = ExitStack()

    def __enter__(self) -> OnLoopback:
        with self._stack as stack:
            stack.enter_context(termination_unwinds())
            self._folder = Path(tempfile.mkdtemp(prefix="ipop-demo-"))
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            stack.callback(self._stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with interrupts_deferred():
            self._stack.__exit__(kind, error, trace)

    def _stop(self) -> None:
        stop(self.nodes)

    def build(self) -> None:
        self.bare = [self._node(f"bare-{number}", "bare") for number in range(1, BARE_NODES + 1)]
        self.alice, self.bob = (self._node(name, f"{name}-{secrets.token_hex(2)}") for name in ADDRESSES)
        self._bootstrap = f"{LOOPBACK}:{_free_port()}"

    def _node(self, name: str, configured: str) -> Node:
        node = Node(name, configured, ThisMachine(), self._folder / name)
        self.nodes.append(node)
        return node

    @property
    def description(self) -> Sequence[str]:
        return [
            f"This machine gives the demo no networks of its own: {self._reason}.",
            WHAT_DIFFERS,
            f"{BARE_NODES} overlay nodes, for others' packets only; the bootstrap is {self._bootstrap}",
        ]

    def start_bare(self) -> None:
        first = self._configure("bootstrap", "bare", "--bare", "--port", self._bootstrap.rpartition(":")[2])
        others = self._configure("bare", "bare", "--bare", "--port", "0")
        for node in self.bare:
            node.start(programs.own("ipop-controller"), "-c", first if node is self.bare[0] else others)

    def join(self, node: Node, namespace: str) -> str:
        configuration = self._configure(node.name, node.configured, namespace, str(ADDRESSES[node.name]), "--port", "0")
        _put_card_in_user_space(configuration)
        node.start(programs.own("ipop-controller"), "-c", configuration)
        return shlex.join(["ipop-controller", "-c", str(configuration)])

    def _configure(self, name: str, configured: str, *wish: str) -> Path:
        path = self._folder / f"{name}.json"
        init = ["--node", configured, "init", *wish, "--bootstrap", self._bootstrap, "-o", str(path)]
        run([programs.own("ipop"), *init])
        return path

    async def card_up(self, node: Node) -> None:
        await node.ask(_until_card)

    async def show_card(self, node: Node) -> tuple[str, str]:
        card = await node.ask(_until_card)
        return f"ipop --node {node.configured} status --json", json.dumps(card)

    def ping(self, address: str) -> tuple[str, AsyncGenerator[Reply, None]]:
        command = f"{COUNT} times the action `echo` of the role link, to {address}"
        return command, self._replies(address)

    async def _replies(self, address: str) -> AsyncGenerator[Reply, None]:
        arrived: asyncio.Queue[Reply | None] = asyncio.Queue()
        pinging = asyncio.create_task(self.alice.ask(lambda bus: _ping(bus, address, arrived)))
        pinging.add_done_callback(lambda _: arrived.put_nowait(None))
        try:
            while (reply := await arrived.get()) is not None:
                self._answered.append(reply)
                yield reply
            await pinging
        finally:
            pinging.cancel()

    async def evidence(self, diary: Diary) -> Evidence:
        bob = load_or_create(self.bob.state).hex
        peers = await self.alice.ask(_peers)
        path = next((peer["path"] for peer in peers if peer["node"] == bob), "none")
        up = next(diary.find("link.up", node=bob), None)
        after = [reply.sequence for reply in self._answered if up and reply.sent >= up.at]
        return Evidence(
            direct=path == "direct",
            summary=f"By Alice's own word, her path to Bob is: {path}.",
            direct_from=min(after, default=None),
            direct_at=up.at if up else None,
        )


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, 0))
        return int(sock.getsockname()[1])


def _put_card_in_user_space(configuration: Path) -> None:
    document = json.loads(configuration.read_text())
    (section,) = (section for section in document["modules"].values() if "address" in section)
    section["card_type"] = "user"
    configuration.write_text(json.dumps(document, indent=2))


async def _until_card(bus: Bus) -> JsonObject:
    while True:
        card: JsonObject | None = (await bus.request("link", "status")).body["card"]
        if card is not None:
            return card
        await asyncio.sleep(CARD_POLL)


async def _ping(bus: Bus, address: str, arrived: asyncio.Queue[Reply | None]) -> None:
    async def one(sequence: int) -> None:
        await asyncio.sleep((sequence - 1) * INTERVAL)
        body = {"address": address, "sequence": sequence, "payload": secrets.token_hex(PAYLOAD)}
        answer = (await bus.request("link", "echo", body, timeout=ECHO_PATIENCE)).body
        if answer["rtt_ms"] is not None:
            arrived.put_nowait(Reply(sequence, time.monotonic(), answer["rtt_ms"]))

    await asyncio.gather(*(one(sequence) for sequence in range(1, COUNT + 1)))


async def _peers(bus: Bus) -> Sequence[JsonObject]:
    peers: Sequence[JsonObject] = (await bus.request("link", "peers")).body["peers"]
    return peers
