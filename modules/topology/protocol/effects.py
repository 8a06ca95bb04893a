"""What the topology machine asks of the world, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Send:
    """Carry `payload` to the topology module of another node; modes as in the role link's action `send`."""

    to: bytes
    mode: Literal["link", "exact", "closest"]
    via: bytes | None
    payload: bytes


@dataclass(frozen=True, slots=True)
class Connect:
    """Want a direct link; the machine is told by `link_up` or `connect_failed`."""

    node: bytes
    via: bytes | None
    kind: str


@dataclass(frozen=True, slots=True)
class Release:
    """Want the link of this kind no more."""

    node: bytes
    kind: str


@dataclass(frozen=True, slots=True)
class Routes:
    """Where packets for other nodes may go: ring members as (node, direct neighbour through which it is reached)."""

    member: bool
    hops: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """This node is part of the ring now."""

    neighbours: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Registered:
    """The directory answered a registration: `owner` is this node, or the one that has the address already."""

    address: bytes
    state: Literal["registered", "taken"]
    owner: bytes


@dataclass(frozen=True, slots=True)
class Resolved:
    """The end of a lookup. `node` None: nobody owns the address when `certain`, else nobody answered in time."""

    address: bytes
    node: bytes | None
    certain: bool
    source: Literal["own", "cache", "directory", "none"]
    lease: float | None
    """Seconds that are left of the owner's lease, as far as is known."""
    took: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A node's neighbours, as it says itself: near, long, and others."""

    number: int
    node: bytes
    near: tuple[bytes, ...]
    long: tuple[bytes, ...]
    other: tuple[bytes, ...]


Effect: TypeAlias = Send | Connect | Release | Routes | Joined | Registered | Resolved | Surveyed


@dataclass(frozen=True, slots=True)
class Source:
    """Where a message came from."""

    sender: bytes
    proven: bool
    """It came over a session: `sender` is a fact, otherwise a claim."""
    link: bytes
    """The direct neighbour that handed it over, or the sender itself."""
