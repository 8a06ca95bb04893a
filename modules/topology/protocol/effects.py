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
    """The directory answered a registration: `owner` is this node, or the one that has the address or name already."""

    subject: bytes | str
    """An address, 4 or 16 bytes, or a host name."""
    state: Literal["registered", "taken"]
    owner: bytes


@dataclass(frozen=True, slots=True)
class Allocated:
    """A free address of the network that was asked for is this node's; None when none of those tried was free."""

    address: bytes | None


@dataclass(frozen=True, slots=True)
class MemberOf:
    """One of the namespace's members, as it says itself."""

    node: bytes
    name: str
    """Empty when it has none."""
    addresses: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """The members of the namespace that the directory knows, this node included, in the order of their ids."""

    members: tuple[MemberOf, ...]
    certain: bool
    """False: nobody answered in time."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The end of a lookup. `node` None: nobody owns the subject when `certain`, else nobody answered in time."""

    subject: bytes | str
    """An address, 4 or 16 bytes, or a host name."""
    node: bytes | None
    certain: bool
    source: Literal["own", "cache", "directory", "none"]
    lease: float | None
    """Seconds that are left of the owner's lease, as far as is known."""
    took: float
    """Seconds."""
    addresses: tuple[bytes, ...] = ()
    """Of a name: the addresses that its owner says it has."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A node's neighbours, as it says itself: near, long, shortcuts, and others."""

    number: int
    node: bytes
    near: tuple[bytes, ...]
    long: tuple[bytes, ...]
    other: tuple[bytes, ...]
    shortcut: tuple[bytes, ...] = ()


Effect: TypeAlias = Send | Connect | Release | Routes | Joined | Registered | Allocated | Resolved | Listed | Surveyed


@dataclass(frozen=True, slots=True)
class Source:
    """Where a message came from."""

    sender: bytes
    proven: bool
    """It came over a session: `sender` is a fact, otherwise a claim."""
    link: bytes
    """The direct neighbour that handed it over, or the sender itself."""
