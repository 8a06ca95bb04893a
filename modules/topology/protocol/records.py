"""Directory records: what an owner signs, and the keys that they lie under.

A record says that the owner of a public key claims a directory key. Those who store it see neither the namespace nor
the address, only hashes: 160-bit keys made from the namespace's own key, which nobody outside a secret namespace knows.
What a record says besides is sealed (`profile.py`). A record that is withdrawn ends the claim before its lease does.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from msgspec import Meta

from ipop_modules.topology.protocol import ids

MAX_LEASE: Final = 3600
MAX_VALUE: Final = 1536

Id: TypeAlias = Annotated[bytes, Meta(min_length=ids.SIZE, max_length=ids.SIZE)]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Kind: TypeAlias = Literal["one", "many"]
"""`one`: the first owner keeps the key. `many`: a set, with a record for each owner."""

Sign: TypeAlias = Callable[[bytes], bytes]
Verify: TypeAlias = Callable[[bytes, bytes, bytes], bool]
"""Public key (SPKI DER), signature, signed data: whether they fit together."""


class Record(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    kind: Kind
    key: Id
    owner_key: Annotated[bytes, Meta(min_length=1, max_length=128)]
    """SPKI DER; its hash is the owner's node id."""
    since: Milliseconds
    """Unix time of the owner's first claim: decides between owners whose claims came at about the same time."""
    sequence: Milliseconds
    """Unix time when it was signed: of one owner's records the highest counts."""
    lease: Annotated[int, Meta(ge=1, le=MAX_LEASE)]
    """Seconds from the signing until the claim ends, unless renewed."""
    value: Annotated[bytes, Meta(max_length=MAX_VALUE)]
    signature: Annotated[bytes, Meta(max_length=80)]
    seal: Annotated[bytes, Meta(max_length=32)] = b""
    """HMAC-SHA256 with the namespace's key: its owner is a member. Storers can neither make nor check it."""
    withdrawn: bool = False
    """The owner claims this no more: the record is kept for its lease only to keep older ones away."""

    @property
    def owner(self) -> bytes:
        """The owner's node id."""
        return _node_id(self.owner_key)

    @property
    def size(self) -> int:
        """Bytes that it takes in a message, to within a few."""
        return len(self.owner_key) + len(self.value) + len(self.signature) + len(self.seal) + 2 * ids.SIZE


@lru_cache(maxsize=8192)
def _node_id(public_key: bytes) -> bytes:
    return sha256(public_key).digest()[: ids.SIZE]


def address_key(namespace_key: bytes, packed: bytes) -> bytes:
    """The key of an address, given as its 4 or 16 bytes."""
    return sha256(b"ipop directory 1" + namespace_key + packed).digest()[: ids.SIZE]


def name_key(namespace_key: bytes, name: str) -> bytes:
    """The key of a host name, given as `names.py` writes it."""
    return sha256(b"ipop name 1" + namespace_key + name.encode()).digest()[: ids.SIZE]


def subject_key(namespace_key: bytes, subject: bytes | str) -> bytes:
    """The key of an address (4 or 16 bytes) or of a host name."""
    return name_key(namespace_key, subject) if isinstance(subject, str) else address_key(namespace_key, subject)


def members_key(namespace_key: bytes, part: str = "") -> bytes:
    """The key of a part of the set of a namespace's members (`parts.py`)."""
    return sha256(b"ipop members 1" + namespace_key + part.encode()).digest()[: ids.SIZE]


def signed_record(
    kind: Kind,
    key: bytes,
    *,
    owner_key: bytes,
    since: int,
    sequence: int,
    lease: int,
    value: bytes,
    sign: Sign,
    namespace_key: bytes,
    withdrawn: bool = False,
) -> Record:
    bare = Record(kind, key, owner_key, since, sequence, lease, value, b"", withdrawn=withdrawn)
    signed = _signed_part(bare)
    return msgspec.structs.replace(bare, signature=sign(signed), seal=_seal(signed, namespace_key))


def is_sealed(record: Record, namespace_key: bytes) -> bool:
    """Whether its owner holds the namespace's key."""
    return hmac.compare_digest(record.seal, _seal(_signed_part(record), namespace_key))


def is_genuine(record: Record, verify: Verify) -> bool:
    """Whether its owner signed it."""
    return verify(record.owner_key, record.signature, _signed_part(record))


def verify_p256(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """ECDSA over P-256 with SHA-256 and a DER signature; False for anything odd."""
    try:
        key = load_der_public_key(public_key)
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            return False
        key.verify(signature, data, ec.ECDSA(SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _signed_part(record: Record) -> bytes:
    return b"ipop record 1" + msgspec.msgpack.encode(msgspec.structs.replace(record, signature=b"", seal=b""))


def _seal(signed: bytes, namespace_key: bytes) -> bytes:
    return hmac.digest(namespace_key, b"ipop seal 1" + signed, "sha256")
