"""Broadcast and multicast frames of the card: one copy for each member of the namespace, over a tree of members.

Whoever sends a frame sees the members as a circle, in the order of their ids. It cuts the circle into parts and gives
each part to one member in it, which delivers the frame, cuts its part up further, and so on: a range of ids goes with
every copy, and falls strictly, so no copy circles and nobody gets two (El-Ansary and others, IPTPS 2003). Where lists
of members differ for a while, a copy may be missing or come twice; the second is dropped. Parts go to members with
which there is a session, if there are any in them: others may be dead, and all behind them would miss the frame.

Nobody signs the end of a range: whoever cuts a part up sets new ones. So a member could hand everybody the whole
circle. Each that it reaches first then hands the frame on once, and to no more members than a part can have
(`most_in_part`): six copies each among 300 members, where an honest frame takes one.

A frame is signed by the member that it comes from, as others hand it on. A member's frames are limited in number
wherever they pass, and no stranger sees any: copies travel in members' sessions. What a frame says of its origin counts
only once its signature is checked, and what one member hands over to be checked is limited as well: else it could use
up another's share, or have it forgotten which of another's frames have come. The body of a BROADCAST frame:

    offset  size  field
    0       8     sequence   of this origin's frames, growing: the time of its start in microseconds, and on from there
    8       20    until      the end of the range, an id that is not in it any more
    28      1     size of the key
    29      1     size of the signature
    30            key        the origin's public key, SPKI DER; its hash is the origin's id
    ..            signature  ECDSA over P-256 with SHA-256, DER; of a label with the namespace's key, sequence and frame
    ..            frame      a CARD frame, header and all
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ipop_core.allowance import Allowance
from ipop_core.token_bucket import TokenBucket

from ...frames import BROADCAST, CARD, FRAME_HEADER, FRAME_HEADER_SIZE
from .replay import ReplayWindow

HEADER: Final = Struct("!Q20sBB")
FANOUT: Final = 16
SPARE: Final = 2
"""Members that may have come since the sender's list."""
RATE: Final = 100.0
"""Frames a second, of one origin."""
BURST: Final = 100.0
HANDED_RATE: Final = 500.0
"""Frames a second, of all origins, that one member hands over; each costs the check of a signature."""
HANDED_BURST: Final = 1000.0
MAX_ORIGINS: Final = 256
MAX_FORMER: Final = 4096
"""Origins that made room and whose last number is remembered."""
RING: Final = 1 << 160


@dataclass(frozen=True, slots=True)
class Copy:
    """What one member is to get: a whole BROADCAST frame."""

    node: bytes
    frame: bytes


@dataclass(frozen=True, slots=True)
class Arrived:
    """A frame that an origin signed, and its range: give it to the card if its source holds, and hand it on."""

    origin: bytes
    frame: bytes
    """A CARD frame, header and all."""
    signed: bytes
    """What follows the range on the wire."""
    sequence: int
    until: bytes
    member: bytes
    """Who handed it over."""


class Refused(ValueError):
    """A BROADCAST frame that goes nowhere; says under which name to count it."""


@dataclass(slots=True)
class _Origin:
    bucket: TokenBucket
    window: ReplayWindow
    floor: int
    """Its frames up to this number are old."""
    member: bytes
    """Who handed its first frame over."""

    def is_new(self, sequence: int) -> bool:
        return sequence > self.floor and self.window.check(sequence)


class Broadcast:
    """`members` are ids in any order, this node's own among them or not; `in_session` tells who is surely there."""

    def __init__(
        self, own: bytes, key: bytes, sign: Callable[[bytes], bytes], namespace_key: bytes, first: int
    ) -> None:
        """`key`: this node's public key, SPKI DER. `first`: this node's frames get numbers above this one."""
        self._own: Final = own
        self._key: Final = key
        self._sign: Final = sign
        self._label: Final = b"ipop broadcast 1" + sha256(namespace_key).digest()
        self._sequence = first
        self._bucket: TokenBucket | None = None
        """For this node's own frames."""
        self._handed: Final = Allowance(HANDED_RATE, HANDED_BURST)
        self._origins: dict[bytes, _Origin] = {}
        """Others that have signed a frame; who was silent longest comes first."""
        self._former: dict[bytes, int] = {}
        """By origin that made room, the highest number of its frames."""

    def originate(
        self, frame: bytes, members: Sequence[bytes], in_session: Callable[[bytes], bool], now: float
    ) -> list[Copy]:
        """Copies of a CARD frame of this node's own. Raises Refused."""
        self._bucket = self._bucket or TokenBucket(RATE, BURST, now)
        if not self._bucket.take(now):
            raise Refused("group_limit")
        self._sequence += 1
        signature = self._sign(_signed(self._label, self._sequence, frame))
        signed = bytes((len(self._key), len(signature))) + self._key + signature + frame
        return self._copies(self._sequence, signed, members, self._own, in_session)

    def received(self, member: bytes, body: memoryview, now: float) -> Arrived:
        """The body of a BROADCAST frame that a member (its id) handed over. Raises Refused."""
        if len(body) < HEADER.size:
            raise Refused("group_malformed")
        sequence, until, key_size, signature_size = HEADER.unpack_from(body)
        at = HEADER.size + key_size
        key, signature = bytes(body[HEADER.size : at]), bytes(body[at : at + signature_size])
        frame = bytes(body[at + signature_size :])
        if len(frame) < FRAME_HEADER_SIZE or FRAME_HEADER.unpack_from(frame)[0] != CARD:
            raise Refused("group_malformed")
        if FRAME_HEADER.unpack_from(frame)[3] != len(frame) - FRAME_HEADER_SIZE:
            raise Refused("group_malformed")
        origin = sha256(key).digest()[: len(until)]
        if until == self._own:
            raise Refused("group_malformed")
        if origin == self._own:
            raise Refused("group_own")
        before = self._origins.get(origin)
        if before is not None and not before.is_new(sequence):
            raise Refused("group_twice")
        if not self._handed.take(member, now):
            raise Refused("group_limit")
        if not _is_genuine(key, signature, _signed(self._label, sequence, frame)):
            raise Refused("group_forged")
        known = self._origin(origin, member, now)
        if not known.is_new(sequence):
            raise Refused("group_twice")
        known.window.mark(sequence)
        if not known.bucket.take(now):
            raise Refused("group_limit")
        return Arrived(origin, frame, bytes(body[HEADER.size - 2 :]), sequence, until, member)

    def onward(self, arrived: Arrived, members: Sequence[bytes], in_session: Callable[[bytes], bool]) -> list[Copy]:
        """Copies for this node's part of the circle."""
        others = [node for node in members if node != arrived.origin]
        most = most_in_part(len(others), 1 if arrived.member == arrived.origin else 2)
        return self._copies(arrived.sequence, arrived.signed, others, arrived.until, in_session, most=most)

    def _copies(
        self,
        sequence: int,
        signed: bytes,
        members: Sequence[bytes],
        until: bytes,
        in_session: Callable[[bytes], bool],
        *,
        most: int | None = None,
    ) -> list[Copy]:
        found = parts(self._own, members, until, in_session, most)
        return [Copy(node, _frame(sequence, end, signed)) for node, end in found]

    def _origin(self, node: bytes, member: bytes, now: float) -> _Origin:
        """What is known of the frames of an origin that has signed one; made where it is the first."""
        known = self._origins.pop(node, None)
        if known is None:
            floor = self._former.pop(node, -1)
            known = _Origin(TokenBucket(RATE, BURST, now), ReplayWindow(), floor, member)
        self._origins[node] = known
        if len(self._origins) > MAX_ORIGINS:
            self._make_room()
        return known

    def _make_room(self) -> None:
        """Of the origins that came by way of the member with most of them, the one that was silent longest goes."""
        most = Counter(origin.member for origin in self._origins.values()).most_common(1)[0][0]
        node = next(node for node, origin in self._origins.items() if origin.member == most)
        gone = self._origins.pop(node)
        self._former[node] = max(gone.floor, gone.window.highest)
        if len(self._former) > MAX_FORMER:
            del self._former[next(iter(self._former))]


def most_in_part(members: int, cuts: int) -> int:
    """Twice as many members as there are in a part when the circle has been cut up so often, and a few."""
    size: int = FANOUT**cuts
    return 2 * -(-members // size) + SPARE


def parts(
    own: bytes, members: Sequence[bytes], until: bytes, in_session: Callable[[bytes], bool], most: int | None = None
) -> list[tuple[bytes, bytes]]:
    """Who gets a copy, with the end of its range: the members strictly between `own` and `until`, clockwise.

    From an id to itself is once round the circle. Of more than `most` the rest get none.
    """
    start = int.from_bytes(own)
    span = (int.from_bytes(until) - start) % RING or RING
    inside = sorted((gap, node) for node in set(members) if 0 < (gap := (int.from_bytes(node) - start) % RING) < span)
    nodes = [node for _, node in inside]
    if most is not None and len(nodes) > most:
        until, nodes = nodes[most], nodes[:most]
    size = -(-len(nodes) // FANOUT)
    found: list[tuple[bytes, bytes]] = []
    for at in range(0, len(nodes), size or 1):
        part = nodes[at : at + size]
        end = nodes[at + size] if at + size < len(nodes) else until
        head = next((place for place, node in enumerate(part) if in_session(node)), 0)
        found += [(part[place], part[place + 1]) for place in range(head)]
        found.append((part[head], end))
    return found


def _frame(sequence: int, until: bytes, signed: bytes) -> bytes:
    body = HEADER.pack(sequence, until, *signed[:2]) + signed[2:]
    return FRAME_HEADER.pack(BROADCAST, 0, 0, len(body)) + body


def _signed(label: bytes, sequence: int, frame: bytes) -> bytes:
    return label + sequence.to_bytes(8, "big") + frame


def _is_genuine(key: bytes, signature: bytes, data: bytes) -> bool:
    try:
        public = load_der_public_key(key)
        if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
            return False
        public.verify(signature, data, ec.ECDSA(SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True
