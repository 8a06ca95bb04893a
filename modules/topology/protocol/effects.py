"""What the topology machine asks of the world, and what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec


class Send(msgspec.Struct, frozen=True):
    """Carry `payload` to the topology module of another node; modes as in the role link's action `send`."""

    to: bytes
    mode: Literal["link", "exact", "closest"]
    via: bytes | None
    payload: bytes


class Connect(msgspec.Struct, frozen=True):
    """Want a direct link; the machine is told by `link_up` or `connect_failed`."""

    node: bytes
    via: bytes | None
    kind: str


class Release(msgspec.Struct, frozen=True):
    """Want the link of this kind no more."""

    node: bytes
    kind: str


class Weigh(msgspec.Struct, frozen=True):
    """Say by `weigh` how many bytes have gone to each node."""


class Introduce(msgspec.Struct, frozen=True):
    """Say by `introduce` where those of these members are that have an endpoint which another node may use."""

    node: bytes
    """The newcomer to be told."""
    members: tuple[bytes, ...]


class Introduced(msgspec.Struct, frozen=True):
    """A member named others to this newcomer: nodes, and the endpoints at which it has its links to them."""

    peers: tuple[tuple[bytes, str], ...]


class Routes(msgspec.Struct, frozen=True):
    """Where packets for other nodes may go: ring members, and the direct neighbour through which each is reached."""

    member: bool
    hops: Mapping[bytes, bytes]


class Joined(msgspec.Struct, frozen=True):
    """This node is part of the ring now."""

    neighbours: tuple[bytes, ...]


class Registered(msgspec.Struct, frozen=True):
    """The directory answered a registration: `owner` is this node, or the one that has the address or name already."""

    subject: bytes | str
    """An address, 4 or 16 bytes, or a host name."""
    state: Literal["registered", "taken"]
    owner: bytes


class Allocated(msgspec.Struct, frozen=True):
    """A free address of the network that was asked for is this node's; None when none of those tried was free."""

    address: bytes | None


class MemberOf(msgspec.Struct, frozen=True):
    """One of the namespace's members, as it says itself."""

    node: bytes
    name: str
    """Empty when it has none."""
    addresses: tuple[bytes, ...]


class Listed(msgspec.Struct, frozen=True):
    """The members of the namespace that the directory knows, this node included, in the order of their ids."""

    members: tuple[MemberOf, ...]
    certain: bool
    """False: nobody answered in time."""


class Resolved(msgspec.Struct, frozen=True):
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
    certificate: bytes = b""
    """The authority's, DER, by which the owner has it; empty where the namespace has none."""


class Surveyed(msgspec.Struct, frozen=True):
    """A node's neighbours, as it says itself: near, long, shortcuts, and others."""

    number: int
    node: bytes
    near: tuple[bytes, ...]
    long: tuple[bytes, ...]
    other: tuple[bytes, ...]
    shortcut: tuple[bytes, ...] = ()


Effect: TypeAlias = (
    Send
    | Connect
    | Release
    | Weigh
    | Introduce
    | Introduced
    | Routes
    | Joined
    | Registered
    | Allocated
    | Resolved
    | Listed
    | Surveyed
)


class Source(msgspec.Struct, frozen=True):
    """Where a message came from."""

    sender: bytes
    proven: bool
    """It came over a session: `sender` is a fact, otherwise a claim."""
    link: bytes
    """The direct neighbour that handed it over, or the sender itself."""

    def is_of(self, asker: bytes) -> bool:
        """Whether who is named as the asker is known to have sent it."""
        return self.proven and self.sender == asker
