"""What two nodes say to each other inside their session: the body of a CONTROL frame, MessagePack arrays with a tag.

Every message is authenticated by the block that carries it. A body that is none of these is dropped and counted.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

from ...frames import CONTROL, FRAME_HEADER

Token: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
Proof: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Port: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Role: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=31, pattern="^[a-z][a-z0-9-]*$")]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
Size: TypeAlias = Annotated[int, msgspec.Meta(ge=1200, le=65_507)]
Data: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=60_000)]
NodeId: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=20, max_length=20)]
Micros: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
CRL_PIECE: Final = 8192
Authority: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=20, max_length=20)]
"""The id of an authority's key, made as a node's."""
ListNumber: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
ListOffset: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class Control(msgspec.Struct, array_like=True):
    """A message between the link modules of two nodes."""


class Confirm(Control, tag=1):
    """The responder has the keys: the initiator need not repeat its last handshake message."""


class Member(Control, tag=2):
    """Proof of membership in a namespace, bound to the handshake's hash (`membership.py`)."""

    proof: Proof
    wanted: bool
    """The sender has not seen the receiver's proof yet."""


class Probe(Control, tag=3):
    """Does this path work? Answered on the path that it came by."""

    token: Token


class ProbeAnswer(Control, tag=4):
    """This path works; the probe was seen to come from this address (empty over the overlay)."""

    token: Token
    ip: Annotated[bytes, msgspec.Meta(max_length=16)]
    port: Port


class Ping(Control, tag=5):
    """A round trip on the path in use, for `ipop ping`."""

    token: Token


class Pong(Control, tag=6):
    """The answer; `hops` are the overlay links that the ping took, 1 on a direct path."""

    token: Token
    hops: Annotated[int, msgspec.Meta(ge=0, le=255)]


class RoleMessage(Control, tag=7):
    """Data for the module that fills a role on the other node."""

    role: Role
    data: Data


class Close(Control, tag=8):
    """This node lets the session go."""


class ProofWanted(Control, tag=9):
    """Card frames came before the sender's proof of membership, or without it."""


class LossReport(Control, tag=10):
    """Of the blocks sent under these keys, how many had been passed at the last report, and are missing (`loss.py`)."""

    counted: Count
    missing: Count
    mended: Count = 0
    """Of those that are not missing, how many lacked a datagram that was made again (`repair.py`) and never came."""


class SizeProbe(Control, tag=11):
    """Does a datagram of this size pass? The padding makes it so long (`mtu.py`)."""

    size: Size
    padding: Data


class SizeAnswer(Control, tag=12):
    """A datagram of this size arrived."""

    size: Size


class Relays(Control, tag=13):
    """The sender's direct neighbours and their round trips in µs, nearest first (`relays.py`)."""

    neighbours: Annotated[tuple[tuple[NodeId, Micros], ...], msgspec.Meta(max_length=16)]
    wanted: bool
    """The sender wants the receiver's."""


class Knock(Control, tag=14):
    """Send me a datagram that I have not asked for at that address (`unasked.py`), `delay` seconds from now.

    With an IP address: there, from a new port of yours. Without: to where this came from, with `other_port` from a new
    port.
    """

    token: Token
    ip: Annotated[bytes, msgspec.Meta(max_length=16)]
    port: Port
    delay: Annotated[int, msgspec.Meta(ge=0, le=180)]
    other_port: bool


class Knocked(Control, tag=15):
    """The datagram is on its way, or there will be none."""

    token: Token
    sent: bool


class Unasked(Control, tag=16):
    """The datagram. It is not answered."""

    token: Token


class Heard(Control, tag=17):
    """Something came, and there was nothing to say to it: its sender need not probe the path."""


class Unneeded(Control, tag=18):
    """The sender does not need the direct link: if the receiver does not need it either, it closes it."""


class TurnedAway(Control, tag=24):
    """There is no room here for the direct link: from now on everything goes over the overlay."""


class CrlNumber(Control, tag=20):
    """The newest list of revoked certificates that the sender has of an authority (`revocation.py`)."""

    authority: Authority
    number: ListNumber
    wanted: bool
    """The sender has not heard the receiver's number yet."""


class CrlRequest(Control, tag=21):
    """Give me that list, from this offset on."""

    authority: Authority
    number: ListNumber
    offset: ListOffset


class CrlPiece(Control, tag=22):
    """A part of a list, DER; `total` bytes are the whole."""

    authority: Authority
    number: ListNumber
    total: ListOffset
    offset: ListOffset
    data: Annotated[bytes, msgspec.Meta(min_length=1, max_length=CRL_PIECE)]


class Torn(Control, tag=23):
    """Of a block of yours only a part came: it may be datagrams of full size that don't pass any more (`mtu.py`)."""


class BadControl(ValueError):
    """The body of a CONTROL frame that is no control message."""


AnyControl: TypeAlias = (
    Confirm
    | Member
    | Probe
    | ProbeAnswer
    | Ping
    | Pong
    | RoleMessage
    | Close
    | ProofWanted
    | LossReport
    | SizeProbe
    | SizeAnswer
    | Relays
    | Knock
    | Knocked
    | Unasked
    | Heard
    | Unneeded
    | TurnedAway
    | CrlNumber
    | CrlRequest
    | CrlPiece
    | Torn
)

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[AnyControl]] = msgspec.msgpack.Decoder(AnyControl)


def frame(message: AnyControl) -> bytes:
    """The whole CONTROL frame, header and all."""
    body = _encoder.encode(message)
    return FRAME_HEADER.pack(CONTROL, 0, 0, len(body)) + body


def decode(body: memoryview) -> AnyControl:
    """Read a CONTROL frame's body. Raises BadControl."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadControl(str(error)) from error
