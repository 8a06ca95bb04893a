"""What a record says of its owner to members of the namespace: a host name, addresses, the authority's certificate.

Sealed with AES-256-GCM under a key made from the namespace's own, so that those who store it can't read it; bound to
the record's key, so that it fits no other. A nonce, 12 bytes, comes first.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Meta

from ipop_modules.topology.protocol.chance import Random
from ipop_modules.topology.protocol.records import Record

MAX_ADDRESSES: Final = 16
MAX_CERTIFICATE: Final = 1280
_NONCE: Final = 12


class Profile(msgspec.Struct, array_like=True, frozen=True):
    name: Annotated[str, Meta(max_length=63)] = ""
    """Empty for a node without one."""
    addresses: Annotated[tuple[Annotated[bytes, Meta(min_length=4, max_length=16)], ...], Meta(max_length=16)] = ()
    """4 or 16 bytes each."""
    certificate: Annotated[bytes, Meta(max_length=MAX_CERTIFICATE)] = b""
    """DER; empty where the namespace has no authority."""


_decoder: msgspec.msgpack.Decoder[Profile] = msgspec.msgpack.Decoder(Profile)


def sealed(profile: Profile, key: bytes, namespace_key: bytes, random: Random) -> bytes:
    """The value of a record that lies under `key`."""
    nonce = random(_NONCE)
    return nonce + _cipher(namespace_key).encrypt(nonce, msgspec.msgpack.encode(profile), key)


def opened(record: Record, namespace_key: bytes) -> Profile:
    """What a record says; an empty profile where it says nothing that can be read."""
    if len(record.value) < _NONCE:
        return Profile()
    try:
        plain = _cipher(namespace_key).decrypt(record.value[:_NONCE], record.value[_NONCE:], record.key)
        profile = _decoder.decode(plain)
    except (InvalidTag, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Profile()
    return profile if all(len(address) in (4, 16) for address in profile.addresses) else Profile()


def _cipher(namespace_key: bytes) -> AESGCM:
    return AESGCM(hmac.digest(namespace_key, b"ipop profile 1", "sha256"))
