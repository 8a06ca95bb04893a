"""A small overlay of bare nodes on a public segment, and members behind their home routers.

Whether two members are neighbours on the ring, and so have a direct link from the start, is up to their ids. Ids are
drawn first and handed out in ring order, so that Alice and Bob never are.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ipop_core.identity import load_or_create
from ipop_core.lab import Home, Host, Laboratory, NatKind, Segment, udp_blocked
from tests.system.node import Node

PORT = 4741
BARE_NODES = 6
SEATS = ("alice", "bare1", "carol", "bare2", "bare3", "bob", "bare4", "mallory", "bare5", "bare6")
"""Who sits where on the ring: nodes have links to two on each side."""


class Overlay:
    """Bare nodes, of which the first is the bootstrap, and whoever joins."""

    def __init__(
        self,
        lab: Laboratory,
        public: Segment,
        *,
        ipv6: bool = False,
        bare_nodes: int = BARE_NODES,
        prefix: str = "bare",
    ) -> None:
        self.lab = lab
        self.public = public
        self.homes: dict[str, Home] = {}
        self._seats = _draw_seats(lab.folder)
        hosts = [lab.host(f"{prefix}{number}", public) for number in range(1, bare_nodes + 1)]
        first = hosts[0]
        self.bootstrap_endpoint = f"[{first.address6}]:{PORT}" if ipv6 else f"{first.address}:{PORT}"
        self.bare = [self._bare(host) for host in hosts]

    @property
    def bootstrap(self) -> Node:
        return self.bare[0]

    def start(self) -> None:
        for node in self.bare:
            node.start()
        for node in self.bare:
            node.ready()

    def home(self, name: str, kind: NatKind = NatKind.PORT_RESTRICTED) -> Home:
        home = self.homes[name] = self.lab.home(name, self.public, kind)
        return home

    def member(
        self,
        name: str,
        host: Host,
        address: str | Sequence[str],
        *,
        namespace: Any = "town",
        bootstraps: Sequence[str] | None = None,
        **modules: Any,
    ) -> Node:
        """A node with a card, not started; `modules` adds to the sections of the configuration."""
        sections: dict[str, Any] = {
            "tincan": {"address": address if isinstance(address, str) else list(address)},
            "topology": {},
            "signal": {"bootstraps": [self.bootstrap_endpoint] if bootstraps is None else list(bootstraps)},
            "logger": {},
        }
        for module, settings in modules.items():
            sections[module] = {**sections.get(module, {}), **settings}
        return Node(name, host, self.lab.folder, sections, namespace=namespace, state=self._seats.get(name))

    def routers(self) -> list[Host]:
        return [home.router.wan for home in self.homes.values() if home.router]

    @contextlib.contextmanager
    def no_direct_path(self, one: str, other: str) -> Iterator[None]:
        """The two homes' routers pass no UDP to each other, while this lasts."""
        with udp_blocked(self.homes[one], self.homes[other]):
            yield

    def _bare(self, host: Host) -> Node:
        # In one process: six bare nodes are there to carry packets, and the machine is small.
        inline = {"isolation": "inline"}
        sections = {
            "tincan": {"card": None, **inline},
            "topology": dict(inline),
            "signal": {"bootstraps": [self.bootstrap_endpoint], **inline},
            "logger": {},
        }
        return Node(host.name, host, self.lab.folder, sections, state=self._seats.get(host.name))


def _draw_seats(folder: Path) -> dict[str, Path]:
    """A state folder with an identity for each of SEATS, in the order of their ids."""
    drawn = [Path(tempfile.mkdtemp(prefix="state-", dir=folder)) for _ in SEATS]
    drawn.sort(key=lambda path: load_or_create(path).node)
    return dict(zip(SEATS, drawn, strict=True))
