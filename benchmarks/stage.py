"""The stage of a benchmark: two computers, and the wire between them.

direct   left ---- right                one veth pair
relay    left ---- middle ---- right    left and right can reach the middle only
lossy    left -- (router) -- right      one network, and a process that delays and loses frames in between
crowd    crowd ---- left ---- right     the direct stage, and a third computer that reaches the left one only
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ipop_core.lab import Laboratory, Namespace, without_offloads

LEFT: Final = "203.0.113.2"
MIDDLE_LEFT: Final = "203.0.113.1"
RIGHT: Final = "203.0.113.3"
FAR_RIGHT: Final = "198.51.100.2"
MIDDLE_RIGHT: Final = "198.51.100.1"
CROWD: Final = "198.51.100.3"
CROWD_LEFT: Final = "198.51.100.4"


@dataclass(frozen=True)
class Conditions:
    """The conditions: `mtu` of every card on the way, `loss` in percent and `delay` in milliseconds, each way."""

    relay: bool = False
    mtu: int = 1500
    loss: float = 0.0
    delay: float = 0.0
    crowd: bool = False

    @property
    def impaired(self) -> bool:
        return bool(self.loss or self.delay)


@dataclass(frozen=True)
class Side:
    """One computer: its address on the wire and a folder for its files."""

    name: str
    namespace: Namespace
    address: str
    folder: Path


@dataclass(frozen=True)
class Middle(Side):
    """The computer that both sides reach; `address` is the one on the left side's network."""

    right_address: str


@dataclass(frozen=True)
class Stage:
    left: Side
    right: Side
    middle: Middle | None
    conditions: Conditions
    crowd: Side | None = None

    @property
    def sides(self) -> tuple[Side, ...]:
        """All computers, the hub first: the others call it as soon as they are started."""
        return (self.left, self.right) if self.middle is None else (self.middle, self.left, self.right)

    @property
    def hub(self) -> Side:
        """The computer that the others start from: the middle one, or the left."""
        return self.middle or self.left

    def hub_address(self, side: Side) -> str:
        """The hub's address on the wire as a side reaches it."""
        if self.middle is not None and side is self.right:
            return self.middle.right_address
        return self.hub.address


@contextmanager
def stage(conditions: Conditions) -> Iterator[Stage]:
    """Build it, and take it down with every process on it. Raises LabError."""
    with Laboratory() as lab:
        left, right = lab.namespace("left"), lab.namespace("right")
        middle = None
        if conditions.relay:
            middle = lab.namespace("middle")
            _join(left, LEFT, middle, MIDDLE_LEFT, conditions.mtu, "left")
            _join(right, FAR_RIGHT, middle, MIDDLE_RIGHT, conditions.mtu, "right")
        elif conditions.impaired:
            _join_by_router(lab.namespace("router"), left, right, conditions)
        else:
            _join(left, LEFT, right, RIGHT, conditions.mtu, "wire")
        crowd = None
        if conditions.crowd:
            crowd = lab.namespace("crowd")
            _join(crowd, CROWD, left, CROWD_LEFT, conditions.mtu, "crowd")
        yield Stage(
            _side(lab, "left", left, LEFT),
            _side(lab, "right", right, FAR_RIGHT if conditions.relay else RIGHT),
            Middle("middle", middle, MIDDLE_LEFT, _folder(lab, "middle"), MIDDLE_RIGHT) if middle else None,
            conditions,
            _side(lab, "crowd", crowd, CROWD) if crowd else None,
        )


def _side(lab: Laboratory, name: str, namespace: Namespace, address: str) -> Side:
    return Side(name, namespace, address, _folder(lab, name))


def _folder(lab: Laboratory, name: str) -> Path:
    folder = lab.folder / name
    folder.mkdir()
    return folder


def _join(one: Namespace, address: str, other: Namespace, other_address: str, mtu: int, name: str) -> None:
    """Connect two namespaces by a veth pair: card `wire` in the first, card `name` in the other."""
    one.ip(f"link add name wire mtu {mtu} type veth peer name {name} mtu {mtu} netns {other.name}")
    for namespace, card, own in ((one, "wire", address), (other, name, other_address)):
        namespace.ip(f"address add {own}/24 dev {card}", f"link set {card} up")
    one.wait_until_running("wire")
    other.wait_until_running(name)


def _join_by_router(router: Namespace, left: Namespace, right: Namespace, conditions: Conditions) -> None:
    for namespace, address, port in ((left, LEFT, "left"), (right, RIGHT, "right")):
        mtu = f"mtu {conditions.mtu}"
        router.ip(f"link add name {port} {mtu} type veth peer name wire {mtu} netns {namespace.name}")
        router.ip(f"link set {port} up")
        namespace.ip(f"address add {address}/24 dev wire", "link set wire up")
        namespace.wait_until_running("wire")
        namespace.call(lambda: without_offloads("wire"))
    command = [sys.executable, "-m", "benchmarks.router", "left", "right", str(conditions.loss), str(conditions.delay)]
    router.popen(command, cwd=Path(__file__).parent.parent)
