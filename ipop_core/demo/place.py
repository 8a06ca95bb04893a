"""Where the demo plays. There are two places: network namespaces with home routers, and loopback alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from ipop_core.demo.diary import Diary
from ipop_core.demo.evidence import Evidence
from ipop_core.demo.node import Node
from ipop_core.demo.ping import Reply

BARE_NODES: Final = 9
ADDRESSES: Final = {"alice": 10, "bob": 20}
"""The last bytes of the virtual addresses."""
NETWORK: Final = "192.168.10.{}"
COUNT: Final = 20
INTERVAL: Final = 0.2
"""Seconds between two pings."""


class Place(Protocol):
    """Used in a `with` block; after it every process and file of the demo is gone."""

    name: str
    """`namespaces` or `loopback`."""
    nat: tuple[str, str]
    """What is in front of Alice and of Bob."""
    nodes: list[Node]
    """All of them."""
    bare: list[Node]
    """The first of them is the bootstrap."""
    alice: Node
    bob: Node

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def description(self) -> Sequence[str]:
        """The network, in lines for people."""
        ...

    def build(self) -> None:
        """Make the network and the nodes' folders."""
        ...

    def start_bare(self) -> None:
        """Start the bare nodes, all at once."""
        ...

    def join(self, node: Node, namespace: str) -> str:
        """Begin to start Alice's or Bob's node; returns the command that was typed."""
        ...

    async def card_up(self, node: Node) -> None:
        """Return when the card has its address."""
        ...

    async def show_card(self, node: Node) -> tuple[str, str]:
        """The command, and what it printed."""
        ...

    def ping(self, address: str) -> tuple[str, AsyncGenerator[Reply, None]]:
        """The command, and Alice's pings as they are answered."""
        ...

    async def evidence(self, diary: Diary) -> Evidence:
        """Which way the pings went, to be asked when all are over; `diary` is Alice's node's."""
        ...
