"""Retry tokens: under load a responder asks an initiator to show that it receives at its source address.

The responder keeps nothing: the token is a MAC over the source address, the initiator's ephemeral key and the bucket
of time (a number that the caller counts up, once a minute for example), under a secret of the responder's own.
"""

from __future__ import annotations

import hmac
from struct import Struct
from typing import Final

TOKEN_SIZE: Final = 16
_BOUND: Final = Struct("!QHB")


def mint_token(secret: bytes, bucket: int, source: tuple[bytes, int], ephemeral: bytes) -> bytes:
    """TOKEN_SIZE bytes for the initiator at `source` (address of 4 or 16 bytes, port)."""
    address, port = source
    bound = _BOUND.pack(bucket, port, len(address)) + address + ephemeral
    return hmac.digest(secret, b"ipop retry 1" + bound, "sha256")[:TOKEN_SIZE]


def check_token(token: bytes, secret: bytes, bucket: int, source: tuple[bytes, int], ephemeral: bytes) -> bool:
    """Whether `token` was minted for this source and key in this bucket of time or the one before."""
    candidates = [mint_token(secret, past, source, ephemeral) for past in (bucket, bucket - 1) if past >= 0]
    return any(hmac.compare_digest(token, candidate) for candidate in candidates)
