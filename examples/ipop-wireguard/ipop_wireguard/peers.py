"""Who is behind which virtual address, and with which key: the rules, without clock or socket.

Nodes tell each other their WireGuard keys in messages between their modules, whose sender the link's session has
proven. What a node says of its addresses is only a claim: the module asks the directory, and `Peers` is told what the
directory has confirmed. So a peer is let in with no other address than its own.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated

import msgspec

from ipop_wireguard.card import Address

KEY_SIZE = 32


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """One message; a sender that is newer may add fields at its end."""

    key: Annotated[bytes, msgspec.Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
    """WireGuard's public key (X25519, RFC 7748)."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    addresses: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(min_length=4, max_length=16)], ...], msgspec.Meta(max_length=8)
    ]
    """4 or 16 bytes each."""
    wants_answer: bool
    """The sender does not know the other's key, or hears nothing from it."""


class BadHello(Exception):
    """Bytes that are none."""


_decoder = msgspec.msgpack.Decoder(Hello)


def encode(hello: Hello) -> bytes:
    return msgspec.msgpack.encode(hello)


def decode(data: bytes) -> tuple[Hello, tuple[Address, ...]]:
    """The message, and the addresses that it claims. Raises BadHello."""
    try:
        hello = _decoder.decode(data)
        return hello, tuple(ip_address(packed) for packed in hello.addresses)
    except (msgspec.MsgspecError, ValueError):
        raise BadHello from None


@dataclass(frozen=True)
class Peer:
    node: bytes
    key: bytes
    port: int
    addresses: tuple[Address, ...]
    """What WireGuard takes from this peer and sends to it; its datagrams go to the first."""

    @property
    def key_text(self) -> str:
        return base64.b64encode(self.key).decode()

    @property
    def endpoint(self) -> str:
        first = self.addresses[0]
        return f"{first}:{self.port}" if first.version == 4 else f"[{first}]:{self.port}"


class Peers:
    """All that are known, by node. `own_key` is this node's."""

    def __init__(self, own_key: bytes) -> None:
        self._own_key = own_key
        self._known: dict[bytes, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._known.values()))

    def clear(self) -> None:
        self._known.clear()

    def of(self, address: Address) -> Peer | None:
        return next((peer for peer in self._known.values() if address in peer.addresses), None)

    def by_node(self, node: bytes) -> Peer | None:
        return self._known.get(node)

    def put(self, peer: Peer) -> tuple[list[Peer], list[Peer]] | None:
        """Let a peer in, with addresses that the directory has confirmed as its own.

        Returns (peers to remove from WireGuard, peers to put there), or None for a key that is somebody else's: with
        it a peer could take that one's place in WireGuard.
        """
        others = [other for other in self._known.values() if other.node != peer.node]
        if peer.key == self._own_key or any(peer.key == other.key for other in others):
            return None
        before = self._known.get(peer.node)
        gone = [before] if before is not None and before.key != peer.key else []
        changed = [peer] if before != peer else []
        self._known[peer.node] = peer
        for other in others:
            left = tuple(address for address in other.addresses if address not in peer.addresses)
            if left == other.addresses:
                continue
            del self._known[other.node]
            gone.append(other)
            if left:
                shrunk = Peer(other.node, other.key, other.port, left)
                self._known[other.node] = shrunk
                changed.append(shrunk)
        return gone, changed
