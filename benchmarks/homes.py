"""Two homes on a slow public segment, each with a node of the same namespace in it, and what is between them."""

from __future__ import annotations

import array
import fcntl
import json
import secrets
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.bare_overlay import Overlay, wait_for
from ipop_core.demo import programs
from ipop_core.demo.node import Node, stop
from ipop_core.demo.ring import BETWEEN, is_between
from ipop_core.identity import KEY_FILE, load_or_create
from ipop_core.lab import Home, Host, LabError, Laboratory, NatKind
from ipop_core.lab.probe import Probe
from ipop_core.nat_behaviour import Behaviour, Dependence, classify

ADDRESSES: Final = {"alice": "192.168.10.10", "bob": "192.168.10.20"}
CARD: Final = "tapipop"
_SIOCETHTOOL: Final = 0x8946
_OFFLOADS: Final = (0x17, 0x1F, 0x24, 0x2C, 0x19)
"""ETHTOOL_STXCSUM, _STSO, _SGSO, _SGRO and _SSG of <linux/ethtool.h>."""

_FREE: Final = Dependence.INDEPENDENT
_STRICT: Final = Dependence.ADDRESS_AND_PORT
_BEHAVIOUR: Final = {
    NatKind.OPEN: (_FREE, _FREE, False),
    NatKind.FULL_CONE: (_FREE, _FREE, False),
    NatKind.ADDRESS_RESTRICTED: (_FREE, Dependence.ADDRESS, False),
    NatKind.PORT_RESTRICTED: (_FREE, _STRICT, False),
    NatKind.SYMMETRIC: (_STRICT, _STRICT, False),
    NatKind.SEQUENTIAL: (_STRICT, _STRICT, True),
}
"""How each kind maps and filters, and whether its ports count up."""


@dataclass(frozen=True)
class Neighbourhood:
    lab: Laboratory
    alice: Home
    bob: Home
    others: Sequence[Home]
    """Homes without a node, to which a computer may move."""
    nodes: dict[str, Node]


@contextmanager
def two_homes(
    overlay: Overlay, kinds: tuple[NatKind, NatKind], *, delay: float, careful: bool
) -> Iterator[Neighbourhood]:
    """Homes side by side behind routers of these kinds; see `neighbourhood`. `careful`: as in `lab.nat.ruleset`.

    Raises LabError where a router is not what it should be.
    """

    def build(lab: Laboratory) -> list[Home]:
        homes = [
            lab.home(name, overlay.public, kind, drop_unsolicited=careful)
            for name, kind in zip(ADDRESSES, kinds, strict=True)
        ]
        servers = lab.host("first", overlay.public), lab.host("second", overlay.public)
        for home in homes:
            with Probe(home.host, *servers) as probe:
                check_kind(home.kind, classify(probe))
        return homes

    with neighbourhood(overlay, build, delay=delay) as found:
        yield found


@contextmanager
def neighbourhood(
    overlay: Overlay,
    build: Callable[[Laboratory], list[Home]],
    *,
    delay: float = 0.0,
    bootstraps: Sequence[str] = (),
) -> Iterator[Neighbourhood]:
    """Build the homes of Alice, of Bob and of others, start Alice's and Bob's nodes, wait until both are in the ring.

    `delay` is in ms, for each home's way out; `bootstraps` are the overlay's own where none are given. Raises LabError.
    """
    namespace = f"benchmark-{secrets.token_hex(4)}"
    slow: list[subprocess.Popen[bytes]] = []
    nodes: dict[str, Node] = {}
    with Laboratory() as lab:
        try:
            homes = build(lab)
            if delay:
                slow += [_slow_down(way_out, delay) for way_out in dict.fromkeys(_way_out(home) for home in homes)]
            for home in homes[:2]:
                nodes[home.name] = _node(lab.folder / home.name, home, bootstraps or [overlay.bootstrap], namespace)
            _draw_identities(nodes["alice"].state, nodes["bob"].state, overlay.ids)
            for node in nodes.values():
                node.start(programs.own("ipop-controller"), "-c", node.folder / "controller.json")
            for node in nodes.values():
                wait_for(node, _is_registered)
                wait_for(node, lambda link: link["card"]["up"], role="link")
            yield Neighbourhood(lab, homes[0], homes[1], homes[2:], nodes)
        finally:
            stop(nodes.values())
            for process in slow:
                process.kill()
                process.wait()


def check_kind(kind: NatKind, found: Behaviour) -> None:
    """Raise LabError where a router that is to be of this kind was found to be another."""
    behaviour = found.mapping, found.filtering, found.sequential
    if behaviour != _BEHAVIOUR[kind]:
        raise LabError(f"a router that is to be {kind.value} behaves as {found}")


def _node(folder: Path, home: Home, bootstraps: Sequence[str], namespace: str) -> Node:
    folder.mkdir()
    configuration = {
        "node": {"name": home.name},
        "namespace": namespace,
        "modules": {
            "tincan": {"address": f"{ADDRESSES[home.name]}/24"},
            "topology": {},
            "signal": {"bootstraps": list(bootstraps)},
            "logger": {},
        },
    }
    (folder / "controller.json").write_text(json.dumps(configuration))
    return Node(home.name, home.name, home.host, folder)


def _is_registered(ring: dict[str, Any]) -> bool:
    return bool(ring["joined"]) and all(claim["state"] == "registered" for claim in ring["registered"])


def _draw_identities(alice: Path, bob: Path, others: Sequence[int]) -> None:
    """Make keys so that so many of the other nodes lie between the two on the ring that they are no neighbours."""
    while True:
        ids = []
        for folder in (alice, bob):
            (folder / KEY_FILE).unlink(missing_ok=True)
            ids.append(int.from_bytes(load_or_create(folder).node))
        between = sum(is_between(ids[0], other, ids[1]) for other in others)
        if BETWEEN <= between <= len(others) - BETWEEN:
            return


def _way_out(home: Home) -> Host:
    """What stands on the public segment for this home: its carrier's router, its own, or its host."""
    router = home.router
    while router is not None and router.carrier is not None:
        router = router.carrier
    return home.host if router is None else router.wan


def _slow_down(outside: Host, delay: float) -> subprocess.Popen[bytes]:
    """Put a process that delays every frame between a host and its segment."""
    segment, port = outside.segment, outside.attachment.port
    inner, outer = f"i{port}"[:15], f"o{port}"[:15]
    segment.namespace.ip(
        f"link set {port} nomaster",
        f"link add name {inner} type veth peer name {outer}",
        f"link set {inner} up",
        f"link set {outer} up",
        f"link set {outer} master {segment.bridge}",
    )
    outside.namespace.call(lambda: _without_offloads(outside.interface))
    segment.namespace.call(lambda: _without_offloads(outer))
    for card in (inner, outer):
        segment.namespace.wait_until_running(card)
    command = [sys.executable, "-m", "benchmarks.router", port, inner, "0", f"{delay:g}"]
    return segment.namespace.popen(command, cwd=Path(__file__).parent.parent)


def _without_offloads(interface: str) -> None:
    """Make the card send what a wire would carry: whole checksums, and no frame longer than its MTU."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in _OFFLOADS:
            value = array.array("I", (command, 0))
            fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), value.buffer_info()[0]))
