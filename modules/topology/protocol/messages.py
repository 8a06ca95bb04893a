"""What the topology modules of different nodes say to each other.

A message is a msgpack array: its number, then its fields in the order below. Fields may be added at the end: a reader
skips what it doesn't know. Everything is bounded; `decode` returns a message within the bounds or raises MessageError.

Hello, Join, Replicate, Neighbours, Full, OtherRing and Introduction come over a direct link, whose other end is proven.
The others are routed: the asker names itself and, while it is not in the ring or asks by another way than the shortest,
the ring member through which answers reach it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.records import Id, Kind, Record

MAX_MESSAGE: Final = 32_768
MAX_NEAR: Final = 8
MAX_COPIES: Final = 16
MAX_HOPS: Final = 64
MAX_NEIGHBOURS: Final = 64
TOKEN_SIZE: Final = 8
MAX_HELD: Final = 2**53
MAX_INTRODUCED: Final = 4
MAX_ENDPOINT: Final = 64

Near: TypeAlias = Annotated[tuple[Id, ...], Meta(max_length=MAX_NEAR)]
Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""Made at random by the asker, the same in every try: whoever answers must have seen it."""
Token: TypeAlias = Annotated[bytes, Meta(max_length=TOKEN_SIZE)]
"""Of a storer, shows that its answers reach the asker (`readers.py`); empty where there is none."""


class MessageError(ValueError):
    """Data from a peer that is no message; says what was expected."""


class Hello(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """Said to every direct neighbour: when the link is new, when something here changed, and now and then."""

    member: bool
    life: Number
    """Differs after a restart: what this node stored is gone."""
    near: Near
    """The ring members next to the sender, to which it has direct links."""
    ask: bool
    """Please say yours at once."""
    long: bool = False
    """The sender wants this link as one of its long ones."""
    list_mark: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    """Of the sender's Neighbours as they stand: who has others, or none, asks."""
    order: Annotated[int, Meta(ge=0, le=2**53)] = 0
    """Grows with every Hello of one life: one that was overtaken on its way is let be."""


class Join(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """Which members are nearest to me? Handed on between neighbours, towards the asker's id but never to it."""

    number: Number
    asker: Id
    via: Id
    """The member that the asker gave it to."""
    hops: Annotated[int, Meta(ge=0, le=MAX_HOPS)]
    near: Near = ()
    """Of the direct neighbours of those who handed it on, the members next to the asker on either side."""


class JoinAnswer(msgspec.Struct, array_like=True, frozen=True, tag=3):
    number: Number
    near: Near
    """The members next to the asker, as far as those on the Join's way know."""


class Copy(msgspec.Struct, array_like=True, frozen=True):
    """A record as one who stores it hands it on."""

    record: Record
    remaining: Annotated[int, Meta(ge=0, le=2**31)]
    """Seconds that are left of the lease: a copy never lives longer than the original."""
    held: Annotated[int, Meta(ge=0, le=MAX_HELD)] = 0
    """Milliseconds for which storers have seen the owner claim the key; 0 where that does not matter."""


Copies: TypeAlias = Annotated[tuple[Copy, ...], Meta(max_length=MAX_COPIES)]


class Put(msgspec.Struct, array_like=True, frozen=True, tag=4):
    """Routed to the member nearest to the record's key: store it, unless somebody else's record is there."""

    number: Number
    asker: Id
    via: Id | None
    record: Record
    beside: bool = False
    """It was routed to a point beside the key instead: who is not to hold the record refuses it."""


class PutAnswer(msgspec.Struct, array_like=True, frozen=True, tag=5):
    """What became of a Put.

    `taken`: `record` is the other owner's. `stale`: `record` is the asker's own with a higher sequence number. `full`:
    the set has as many owners as one may have.
    """

    number: Number
    outcome: Literal["stored", "taken", "stale", "refused", "full"]
    record: Record | None


class Get(msgspec.Struct, array_like=True, frozen=True, tag=6):
    """Routed to the member nearest to the key, or exactly to one of its neighbours, which hold replicas."""

    number: Number
    asker: Id
    via: Id | None
    kind: Kind
    key: Id
    count_only: bool = False
    """How many there are is enough."""
    after: Annotated[bytes, Meta(max_length=ids.SIZE)] = b""
    """Only records of owners with greater ids, please."""
    token: Token = b""


class GetAnswer(msgspec.Struct, array_like=True, frozen=True, tag=7):
    number: Number
    copies: Copies
    """In the order of their owners' ids; a large set is asked for in pieces. Withdrawn ones are among them."""
    total: Annotated[int, Meta(ge=0, le=2**31)]
    """How many owners' records lie there, the asker's own left out."""
    keeps: bool
    """The one that answers has its place near the key for a while now: what it has not does not exist."""
    token: Token = b""
    """Not empty: there are more copies than the asker gets unproven; it may ask again with this."""
    behind: bool = False
    """A set that has turned owners away lately: there may be more in its parts (`parts.py`)."""


class Replicate(msgspec.Struct, array_like=True, frozen=True, tag=8):
    """From one who stores records to a near neighbour: hold these too."""

    copies: Copies


class Displaced(msgspec.Struct, array_like=True, frozen=True, tag=9):
    """To an owner whose record gave way to an older claim when two rings merged: look again."""

    key: Id


class Neighbours(msgspec.Struct, array_like=True, frozen=True, tag=10):
    """To a direct neighbour: the ring members to which the sender has direct links. What it said before is void."""

    nodes: Annotated[tuple[Id, ...], Meta(max_length=MAX_NEIGHBOURS)]


class Find(msgspec.Struct, array_like=True, frozen=True, tag=11):
    """Routed to the member nearest to a point of the ring, which is to say who it is: for a long link."""

    number: Number
    asker: Id
    via: Id | None


class Found(msgspec.Struct, array_like=True, frozen=True, tag=12):
    number: Number
    node: Id
    room: bool
    """Whether it would take one more long link."""


class Full(msgspec.Struct, array_like=True, frozen=True, tag=13):
    """To a neighbour that wants the link as a long one: there are too many here, please take another."""


class Repair(msgspec.Struct, array_like=True, frozen=True, tag=14):
    """Routed to a member near the record's key that should hold it, too: from a storer, or a reader that missed it."""

    copy: Copy


class Survey(msgspec.Struct, array_like=True, frozen=True, tag=15):
    """Routed to a node: who are your neighbours? For people who look at the ring."""

    number: Number
    asker: Id
    via: Id | None


class SurveyAnswer(msgspec.Struct, array_like=True, frozen=True, tag=16):
    """All as far as there is room: ring members next to the node on either side, long links, shortcuts and others."""

    number: Number
    node: Id
    near: Near
    long: Annotated[tuple[Id, ...], Meta(max_length=MAX_NEIGHBOURS)]
    other: Annotated[tuple[Id, ...], Meta(max_length=MAX_NEIGHBOURS)]
    shortcut: Annotated[tuple[Id, ...], Meta(max_length=MAX_NEIGHBOURS)] = ()


class OtherRing(msgspec.Struct, array_like=True, frozen=True, tag=17):
    """To a long neighbour: this member is of a ring that the sender did not know, ask there for your place."""

    door: Id


class Peer(msgspec.Struct, array_like=True, frozen=True):
    node: Id
    endpoint: Annotated[str, Meta(max_length=MAX_ENDPOINT)]
    """At which the sender has its link to the node, `1.2.3.4:4741` or `[2001:db8::1]:4741`."""


class Introduction(msgspec.Struct, array_like=True, frozen=True, tag=18):
    """To a newcomer that came to the sender: members to ask if the sender is gone before others are linked."""

    peers: Annotated[tuple[Peer, ...], Meta(max_length=MAX_INTRODUCED)]


Message: TypeAlias = (
    Hello
    | Join
    | JoinAnswer
    | Put
    | PutAnswer
    | Get
    | GetAnswer
    | Replicate
    | Displaced
    | Neighbours
    | Find
    | Found
    | Full
    | Repair
    | Survey
    | SurveyAnswer
    | OtherRing
    | Introduction
)

_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    return _encoder.encode(message)


def decode(data: bytes) -> Message:
    """Raises MessageError for whatever is not exactly one message within its bounds."""
    if len(data) > MAX_MESSAGE:
        raise MessageError(f"{len(data)} bytes, expected at most {MAX_MESSAGE}")
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as fault:
        raise MessageError(str(fault)) from fault
