"""What two nodes say to each other before they start at once.

An offer carries the candidates of the one who wants a direct path, the answer those of the other and the offer's id.
Both travel sealed end to end, so their sender is proven; what they say is still checked like a stranger's word.
MessagePack arrays: `["offer", id (8 bytes), [candidate (6 or 18 bytes), ...], mapping, outer, able]`; later fields may
follow. `mapping` and `outer` are of the sender's NAT, as `link.json` has them (`nat`): how it maps, as an index of
MAPPINGS, and its address as peers see it, packed as a candidate or empty. `able`: the sender can take part in a search
now; where it is missing, it is true.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

from ipop_modules.signal.protocol.candidates import MOST_CANDIDATES

LONGEST_MESSAGE: Final = 1024

OfferId: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
Packed: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=6, max_length=18)]
Outer: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=18)]
Candidates: TypeAlias = Annotated[tuple[Packed, ...], msgspec.Meta(max_length=MOST_CANDIDATES)]


MAPPINGS: Final = ("unknown", "none", "endpoint-independent", "address-dependent", "address-and-port-dependent")
MappingIndex: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=len(MAPPINGS))]


class Offer(msgspec.Struct, frozen=True, array_like=True, tag="offer"):
    id: OfferId
    candidates: Candidates
    mapping: MappingIndex = 0
    outer: Outer = b""
    able: bool = True


class Answer(msgspec.Struct, frozen=True, array_like=True, tag="answer"):
    id: OfferId
    candidates: Candidates
    mapping: MappingIndex = 0
    outer: Outer = b""
    able: bool = True


_decoder: Final[msgspec.msgpack.Decoder[Offer | Answer]] = msgspec.msgpack.Decoder(Offer | Answer)


def encode(message: Offer | Answer) -> bytes:
    return msgspec.msgpack.encode(message)


def decode(data: bytes) -> Offer | Answer:
    """Raise ValueError when `data` is neither."""
    if len(data) > LONGEST_MESSAGE:
        raise ValueError(f"{len(data)} bytes are more than {LONGEST_MESSAGE}")
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
