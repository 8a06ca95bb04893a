"""What a node says of itself in its own network, so that others there find it without a bootstrap.

One datagram, a MessagePack array: `["ipop-lan-1", node id (20 bytes), UDP port]`; later fields may follow. Anybody can
send one: it only names a node that is then asked to prove itself.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

LONGEST: Final = 256


class Announcement(msgspec.Struct, frozen=True, array_like=True, tag="ipop-lan-1"):
    node: Annotated[bytes, msgspec.Meta(min_length=20, max_length=20)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]


_decoder: Final = msgspec.msgpack.Decoder(Announcement)


def encode(announcement: Announcement) -> bytes:
    return msgspec.msgpack.encode(announcement)


def decode(data: bytes) -> Announcement:
    """Raise ValueError when `data` is no announcement."""
    if len(data) > LONGEST:
        raise ValueError(f"{len(data)} bytes are more than {LONGEST}")
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
