"""What a node says of itself to the members of its namespace: its addresses and its host name, with when it took them.

Sealed with AES-256-GCM under a key made from the namespace's own and bound to the node's id: neighbours of other
namespaces can't read it, and none can pass it off as its own. A nonce, 12 bytes, comes first.
"""

import hmac
from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE = 12
MAX_SEALED = 1024

Subject = bytes | str
"""An address, 4 or 16 bytes, or a host name."""
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Address(msgspec.Struct, array_like=True, frozen=True):
    address: Annotated[bytes, msgspec.Meta(min_length=4, max_length=16)]
    since: Milliseconds


class Profile(msgspec.Struct, array_like=True, frozen=True):
    addresses: Annotated[tuple[Address, ...], msgspec.Meta(max_length=16)]
    name: Annotated[str, msgspec.Meta(max_length=63)] = ""
    """In lower case; empty for a node without one."""
    named: Milliseconds = 0
    """Since when."""


_decoder = msgspec.msgpack.Decoder(Profile)


def sealed(claims: Mapping[Subject, int], node: bytes, namespace_key: bytes, random: Callable[[int], bytes]) -> bytes:
    """`claims`: what the node has, with the Unix time in milliseconds when it took it; one name at most."""
    addresses = tuple(Address(subject, since) for subject, since in claims.items() if isinstance(subject, bytes))
    name, named = next((item for item in claims.items() if isinstance(item[0], str)), ("", 0))
    nonce, plain = random(NONCE), msgspec.msgpack.encode((addresses, name, named))
    return nonce + _cipher(namespace_key).encrypt(nonce, plain, node)


def opened(data: bytes, node: bytes, namespace_key: bytes) -> dict[Subject, int]:
    """What the node claims; nothing where it is no member of the namespace, or says what can't be read."""
    try:
        plain = _cipher(namespace_key).decrypt(data[:NONCE], data[NONCE:], node)
        profile = _decoder.decode(plain)
    except (InvalidTag, ValueError, msgspec.MsgspecError, RecursionError):  # a UnicodeDecodeError is a ValueError
        return {}
    claims: dict[Subject, int] = {
        said.address: said.since for said in profile.addresses if len(said.address) in (4, 16)
    }
    return {**claims, profile.name: profile.named} if profile.name else claims


def _cipher(namespace_key: bytes) -> AESGCM:
    return AESGCM(hmac.digest(namespace_key, b"ipop fullmesh profile 1", "sha256"))
