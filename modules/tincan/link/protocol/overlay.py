"""Packets that travel over the ring, hop by hop: the body of a RELAY frame.

    offset  size  field
    0       1     flags      CLOSEST, TO_VIA, FROM_VIA, MARK, STRICT
    1       1     content    DATAGRAM, MESSAGE, TRACE or TRACED
    2       1     hop limit  links that it may still take
    3       1     hops       links that it has taken
    4       20    to         the node that it is for, or a key when CLOSEST
    24      20    sender     the node that sent it: a claim, proven only by what the payload holds
    44      20    to via     only with TO_VIA: go to this node first, which hands on to `to`
    ..      20    from via   only with FROM_VIA: how the sender can be reached while it is not in the ring
    ..      20    mark       only with MARK: the node that the next hop is to reach (routes.py)
    ..            payload

A DATAGRAM payload is what would travel in UDP on a direct path (`wire.py`): a handshake or a block of the session
between sender and `to`; no relay can open it. A MESSAGE payload is one length byte, a role's name and that role's data.
A TRACE payload is a token of eight bytes, which whoever has the packet when its hop limit ends sends back as TRACED.

Every packet arrives inside a block of the link with the neighbour, so its neighbour is proven and nobody else sees ids.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from ...frames import FRAME_HEADER, RELAY

HEADER: Final = Struct("!BBBB20s20s")
ID_SIZE: Final = 20

CLOSEST: Final = 1
TO_VIA: Final = 2
FROM_VIA: Final = 4
MARK: Final = 8
STRICT: Final = 16

DATAGRAM: Final = 1
MESSAGE: Final = 2
TRACE: Final = 3
TRACED: Final = 4
TOKEN_SIZE: Final = 8

HOP_LIMIT: Final = 64

Buffer: TypeAlias = bytes | bytearray | memoryview


class BadPacket(ValueError):
    """Bytes from a neighbour that are no overlay packet."""


class Packet(NamedTuple):
    """One overlay packet; ids are 20 bytes."""

    to: bytes
    sender: bytes
    content: int
    payload: Buffer
    closest: bool = False
    to_via: bytes | None = None
    from_via: bytes | None = None
    hop_limit: int = HOP_LIMIT
    hops: int = 0
    mark: bytes | None = None
    strict: bool = False


def frame(packet: Packet) -> bytes:
    """The RELAY frame that carries this packet, its body copied once."""
    flags = (CLOSEST if packet.closest else 0) | (STRICT if packet.strict else 0)
    nodes = b""
    for flag, node in ((TO_VIA, packet.to_via), (FROM_VIA, packet.from_via), (MARK, packet.mark)):
        if node is not None:
            flags |= flag
            nodes += node
    header = HEADER.pack(flags, packet.content, packet.hop_limit, packet.hops, packet.to, packet.sender)
    length = HEADER.size + len(nodes) + len(packet.payload)
    return b"".join((FRAME_HEADER.pack(RELAY, 0, 0, length), header, nodes, packet.payload))


def decode(body: memoryview) -> Packet:
    """Read a RELAY frame's body. Raises BadPacket."""
    if len(body) < HEADER.size:
        raise BadPacket(f"{len(body)} bytes, a header has {HEADER.size}")
    flags, content, hop_limit, hops, to, sender = HEADER.unpack_from(body)
    if flags & ~(CLOSEST | TO_VIA | FROM_VIA | MARK | STRICT):
        raise BadPacket(f"flags {flags:#x}")
    if not DATAGRAM <= content <= TRACED:
        raise BadPacket(f"content {content}")
    at = HEADER.size
    nodes: list[bytes | None] = []
    for flag in (TO_VIA, FROM_VIA, MARK):
        nodes.append(bytes(body[at : at + ID_SIZE]) if flags & flag else None)
        at += ID_SIZE if flags & flag else 0
    if len(body) < at:
        raise BadPacket(f"{len(body)} bytes, this header has {at}")
    to_via, from_via, mark = nodes
    closest, strict = bool(flags & CLOSEST), bool(flags & STRICT)
    return Packet(to, sender, content, body[at:], closest, to_via, from_via, hop_limit, hops, mark, strict)


def one_hop_on(packet: Packet, mark: bytes | None = None, *, strict: bool = False) -> Packet:
    """The packet as a relay hands it on."""
    hops = min(packet.hops + 1, 255)
    return packet._replace(hop_limit=packet.hop_limit - 1, hops=hops, mark=mark, strict=strict)


def past_via(packet: Packet) -> Packet:
    """The packet as it goes on from the node that it was routed through."""
    return packet._replace(to_via=None, mark=None, strict=False)


def encode_message(role: str, data: bytes) -> bytes:
    """The payload of a MESSAGE packet; a role's name has at most 31 ASCII letters."""
    name = role.encode("ascii")
    return bytes((len(name),)) + name + data


def decode_message(payload: Buffer) -> tuple[str, bytes]:
    """The role and its data. Raises BadPacket."""
    if len(payload) < 2:
        raise BadPacket("an empty message")
    size = payload[0]
    name = bytes(payload[1 : 1 + size])
    if len(name) != size or not name.isascii() or not name.replace(b"-", b"").isalnum():
        raise BadPacket("a message without a role")
    return name.decode("ascii"), bytes(payload[1 + size :])
