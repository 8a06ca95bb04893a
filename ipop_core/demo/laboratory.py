"""The demo in network namespaces: a public segment, nine hosts on it, and two homes behind routers of their own."""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import secrets
import shlex
import socket
import struct
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final

from ipop_core.demo import ping, programs
from ipop_core.demo.diary import Diary
from ipop_core.demo.evidence import Evidence, exchanges, judge
from ipop_core.demo.node import SLOWEST, Node, stop
from ipop_core.demo.ping import Reply
from ipop_core.demo.place import ADDRESSES, BARE_NODES, COUNT, INTERVAL
from ipop_core.lab import Home, Host, Laboratory, NatKind
from ipop_core.lab.commands import run
from ipop_core.lab.interrupts import interrupts_deferred

PORT: Final = 4741
CARD: Final = "tapipop"
CARD_POLL: Final = 0.01
CANARY_SIZE: Final = 16
"""The longest pattern that ping takes."""

_SIOCGIFADDR: Final = 0x8915
_IFREQ: Final = struct.Struct("16s24x")


class InLaboratory:
    name = "namespaces"

    def __init__(self, nat: tuple[str, str]) -> None:
        self.nat = nat
        self.nodes: list[Node] = []
        self._lab = Laboratory()
        self._stack = ExitStack()
        self._captures = ExitStack()

    def __enter__(self) -> InLaboratory:
        with self._stack as stack:
            stack.enter_context(self._lab)
            stack.callback(self._stop)
            stack.enter_context(self._captures)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _stop(self) -> None:
        with interrupts_deferred():
            stop(self.nodes)

    def build(self) -> None:
        self._public = self._lab.segment()
        hosts = [self._lab.host(f"bare-{number}", self._public) for number in range(1, BARE_NODES + 1)]
        self.bare = [self._node(host, "bare") for host in hosts]
        self._relays = {host.address for host in hosts}
        self._bootstrap = f"{hosts[0].address}:{PORT}"
        kinds = zip(ADDRESSES, map(NatKind, self.nat), strict=True)
        self._homes = {name: self._lab.home(name, self._public, kind) for name, kind in kinds}
        self.alice, self.bob = (
            self._node(home.host, f"{name}-{secrets.token_hex(2)}") for name, home in self._homes.items()
        )
        self._on_public = self._captures.enter_context(self._lab.capture(self._public))

    def _node(self, host: Host, configured: str) -> Node:
        node = Node(host.name, configured, host, self._lab.folder / host.name)
        self.nodes.append(node)
        return node

    @property
    def description(self) -> Sequence[str]:
        overlay = f"{BARE_NODES} overlay nodes on the public segment {self._public.network}, for others' packets only"
        return [f"{overlay}; the bootstrap is {self._bootstrap}", *map(_describe, self._homes.values())]

    def start_bare(self) -> None:
        configuration = self._lab.folder / "bare.json"
        init = ["--node", "bare", "init", "--bare", "--bootstrap", self._bootstrap, "-o", str(configuration)]
        run([programs.own("ipop"), *init])
        for node in self.bare:
            node.start(programs.own("ipop-controller"), "-c", configuration)

    def join(self, node: Node, namespace: str) -> str:
        words = ["--node", node.configured, "up", namespace, str(ADDRESSES[node.name]), "--bootstrap", self._bootstrap]
        node.start(programs.own("ipop"), *words)
        return shlex.join(["ipop", *words])

    async def card_up(self, node: Node) -> None:
        deadline = time.monotonic() + SLOWEST
        namespace = self._homes[node.name].host.namespace
        while not await asyncio.to_thread(namespace.call, _card_has_address):
            node.check()
            if time.monotonic() > deadline:
                raise node.error(f"{CARD} has no address after {SLOWEST:g} s")
            await asyncio.sleep(CARD_POLL)

    async def show_card(self, node: Node) -> tuple[str, str]:
        command = ["ip", "addr", "show", CARD]
        return shlex.join(command), self._homes[node.name].host.run(command).stdout

    def ping(self, address: str) -> tuple[str, AsyncGenerator[Reply, None]]:
        # A canary in the payload: whoever carries the pings must not see it.
        self._canary = secrets.token_bytes(CANARY_SIZE)
        self._on_card = self._captures.enter_context(self._lab.capture(self._homes["alice"].host, CARD))
        command = ping.command(address, COUNT, INTERVAL, self._canary.hex())
        return shlex.join(command), ping.replies(self.alice, command)

    async def evidence(self, _diary: Diary) -> Evidence:
        self._captures.close()
        alice, bob = (home.public_address for home in self._homes.values())
        pings = exchanges(self._on_card.find(self._canary))
        return dataclasses.replace(
            judge(self._on_public.datagrams(), alice, bob, self._relays, pings),
            canary_on_card=len(self._on_card.find(self._canary)),
            canary_on_public=len(self._on_public.find(self._canary)),
        )


def _describe(home: Home) -> str:
    if home.router is None:
        return f"{home.name} on the public segment itself, {home.public_address}"
    return f"{home.name} at {home.host.address}, behind a {home.kind.value} NAT with the address {home.public_address}"


def _card_has_address() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            fcntl.ioctl(sock, _SIOCGIFADDR, _IFREQ.pack(CARD.encode()))
        except OSError:  # no such card, or no address yet
            return False
        return True
