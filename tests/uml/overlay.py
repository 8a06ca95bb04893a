"""Real nodes in User-Mode Linux: a bootstrap and members with certificates and IPsec, all on one segment."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.identity import CERTIFICATE_FILE, load_or_create
from ipop_core.lab import Host, Laboratory
from tests.authority.makers import Authority
from tests.system.node import Node
from tests.uml.test_failing_closed import spis

PORT = 4741
SLOW = 60.0
MEMBERS = {"alice": "192.168.10.10", "bob": "192.168.10.20", "mallory": "192.168.10.66"}


class Overlay:
    """Alice, Bob and their bootstrap are started, and Mallory by whoever needs her."""

    def __init__(self, lab: Laboratory) -> None:
        public = lab.segment()
        hosts = {name: lab.host(name, public) for name in ("boot", *MEMBERS)}
        self.authority = Authority()
        trusted = lab.folder / "authority.pem"
        trusted.write_bytes(self.authority.certificate.public_bytes(Encoding.PEM))
        signal = {"bootstraps": [f"{hosts['boot'].address}:{PORT}"]}
        common: dict[str, Any] = {"topology": {}, "signal": signal, "logger": {}}
        self.nodes = {"boot": Node("boot", hosts["boot"], lab.folder, {"tincan": {"card": None}, **common})}
        for name, address in MEMBERS.items():
            sections = {"tincan": {"address": f"{address}/24"}, **common, "ipsec": {}}
            namespace = {"name": "town", "authority": str(trusted)}
            node = self.nodes[name] = Node(name, hosts[name], lab.folder, sections, namespace=namespace)
            identity = load_or_create(node.folder / "state")
            certificate = self.authority.member(identity.key, address).public_bytes(Encoding.PEM)
            (node.folder / "state" / CERTIFICATE_FILE).write_bytes(certificate)
        for name in ("boot", "alice", "bob"):
            self.nodes[name].start()

    def start_withholding(self, name: str) -> None:
        """Start a node that takes and passes on no news of revoked certificates."""
        node = self.nodes[name]
        node.start_as([sys.executable, "-m", "tests.uml.withholding"])

    def stop(self) -> None:
        for node in self.nodes.values():
            if node.process is not None:
                node.stop(timeout=SLOW)


@contextmanager
def dropped(host: Host, card: str, *matches: str) -> Iterator[None]:
    """What comes in on a card and matches (tc-u32(8)) is lost, while this lasts."""
    host.run(["tc", "qdisc", "add", "dev", card, "ingress"])
    try:
        for match in matches:
            words = f"tc filter add dev {card} ingress protocol ip u32 {match} action drop"
            host.run(words.split())
        yield
    finally:
        host.run(["tc", "qdisc", "del", "dev", card, "ingress"])


@contextmanager
def apart(one: Node, other: Node) -> Iterator[None]:
    """No packet passes between the two machines."""
    with (
        dropped(one.host, one.host.interface, f"match ip src {other.host.address}"),
        dropped(other.host, other.host.interface, f"match ip src {one.host.address}"),
    ):
        yield


@contextmanager
def isolated(node: Node, others: list[Node]) -> Iterator[None]:
    """No packet passes between this machine and any other."""
    with ExitStack() as stack:
        stack.enter_context(dropped(node.host, node.host.interface, "match u32 0 0"))
        for other in others:
            stack.enter_context(dropped(other.host, other.host.interface, f"match ip src {node.host.address}"))
        yield


def keys(node: Node, peer: str | None = None) -> set[str]:
    """SPIs of the associations that have keys, of all peers or to the one with this virtual address."""
    towards = [] if peer is None else ["list", "dst", peer]
    return spis(node.host.run(["ip", "xfrm", "state", *towards]).stdout)
