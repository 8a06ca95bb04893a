"""Proof of membership in a namespace: both sides of a session show that they hold the namespace's key.

The proof is bound to the session by its handshake hash, and to the side that makes it, so it can be neither carried
into another session nor sent back to where it came from. The key itself never travels.
"""

from __future__ import annotations

import hmac
from typing import Final

KEY_SIZE: Final = 32
PROOF_SIZE: Final = 32
_LABEL: Final = b"ipop member 1"


def make_proof(namespace_key: bytes, handshake_hash: bytes, *, by_initiator: bool) -> bytes:
    """PROOF_SIZE bytes. Raises ValueError for a namespace key that is not KEY_SIZE bytes."""
    if len(namespace_key) != KEY_SIZE:
        raise ValueError(f"namespace key of {len(namespace_key)} bytes, expected {KEY_SIZE}")
    role = b"I" if by_initiator else b"R"
    return hmac.digest(namespace_key, _LABEL + role + handshake_hash, "sha256")


def check_proof(proof: bytes, namespace_key: bytes, handshake_hash: bytes, *, by_initiator: bool) -> bool:
    """Whether `proof` was made by the side `by_initiator` says, for this session, with this key."""
    return hmac.compare_digest(proof, make_proof(namespace_key, handshake_hash, by_initiator=by_initiator))
