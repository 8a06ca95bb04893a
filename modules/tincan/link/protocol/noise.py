"""Noise_XX_25519_AESGCM_SHA256 (The Noise Protocol Framework, revision 34), one suite and no negotiation.

    -> e
    <- e, ee, s, es
    -> s, se

Every message ends with a payload. The tokens and the payload of a message can be handled apart, so that a payload may
sign the handshake hash as it stands after its own message's keys. Private keys come from outside: an ephemeral key
serves one handshake only.
"""

from __future__ import annotations

import hashlib
import hmac
from struct import Struct
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PROTOCOL_NAME: Final = b"Noise_XX_25519_AESGCM_SHA256"
PROLOGUE: Final = b"ipop 1"
MAX_MESSAGE: Final = 65_535

_PATTERN: Final = (("e",), ("e", "ee", "s", "es"), ("s", "se"))
_KEY: Final = 32
_TAG: Final = 16
_NONCE: Final = Struct("!IQ")
_NO_SECRET: Final = bytes(_KEY)


class NoiseError(ValueError):
    """A message that does not fit this handshake: too short, too long, out of turn, forged, or with a weak key."""


class SymmetricState:
    """Chaining key, hash and cipher key (section 5.2 of the specification)."""

    __slots__ = ("_cipher", "_counter", "chaining_key", "hash")

    def __init__(self, prologue: bytes) -> None:
        # The name is shorter than a hash, so it is padded with zeros, not hashed (InitializeSymmetric).
        self.hash = PROTOCOL_NAME.ljust(_KEY, b"\0")
        self.chaining_key = self.hash
        self._cipher: AESGCM | None = None
        self._counter = 0
        self.mix_hash(prologue)

    def copy(self) -> SymmetricState:
        twin = object.__new__(SymmetricState)
        twin.hash, twin.chaining_key = self.hash, self.chaining_key
        twin._cipher, twin._counter = self._cipher, self._counter
        return twin

    @property
    def tag_size(self) -> int:
        return _TAG if self._cipher else 0

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, secret: bytes) -> None:
        self.chaining_key, key = _hkdf(self.chaining_key, secret)
        self._cipher = AESGCM(key)
        self._counter = 0

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext = plaintext
        if self._cipher:
            ciphertext = self._cipher.encrypt(self._next_nonce(), plaintext, self.hash)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext = ciphertext
        if self._cipher:
            try:
                plaintext = self._cipher.decrypt(self._next_nonce(), ciphertext, self.hash)
            except InvalidTag:
                raise NoiseError("the message does not decrypt") from None
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        return _hkdf(self.chaining_key, b"")

    def _next_nonce(self) -> bytes:
        nonce = _NONCE.pack(0, self._counter)
        self._counter += 1
        return nonce


class Handshake:
    """One side of one handshake. Messages alternate, the initiator's first; an error leaves it unusable."""

    __slots__ = ("_ephemeral", "_initiator", "_messages", "_remote_ephemeral", "_remote_static", "_state", "_static")

    def __init__(
        self, initiator: bool, static: X25519PrivateKey, ephemeral: X25519PrivateKey, prologue: bytes = PROLOGUE
    ) -> None:
        self._initiator = initiator
        self._static = static
        self._ephemeral = ephemeral
        self._remote_static: X25519PublicKey | None = None
        self._remote_ephemeral: X25519PublicKey | None = None
        self._state = SymmetricState(prologue)
        self._messages = 0

    def copy(self) -> Self:
        """The same handshake at the same point, to try a message that may be forged on."""
        twin = object.__new__(type(self))
        for name in Handshake.__slots__:
            setattr(twin, name, getattr(self, name))
        twin._state = self._state.copy()
        return twin

    @property
    def finished(self) -> bool:
        return self._messages == len(_PATTERN)

    @property
    def handshake_hash(self) -> bytes:
        """32 bytes that cover all that was sent so far; unique to the session once the handshake is finished."""
        return self._state.hash

    def write_message(self, payload: bytes) -> bytes:
        return self.write_keys() + self.write_payload(payload)

    def read_message(self, message: bytes) -> bytes:
        """The payload of the next message. Raises NoiseError."""
        return self.read_payload(self.read_keys(message))

    def write_keys(self) -> bytes:
        """The first part of the next message, up to its payload. Raises NoiseError."""
        return b"".join([self._write(token) for token in self._turn(writing=True)])

    def write_payload(self, payload: bytes) -> bytes:
        self._messages += 1
        return self._state.encrypt_and_hash(payload)

    def read_keys(self, message: bytes) -> bytes:
        """Read the first part of the next message; returns what is left, its encrypted payload. Raises NoiseError."""
        tokens = self._turn(writing=False)
        if len(message) > MAX_MESSAGE:
            raise NoiseError(f"message of {len(message)} bytes, expected at most {MAX_MESSAGE}")
        for token in tokens:
            message = self._read(token, message)
        return message

    def read_payload(self, encrypted: bytes) -> bytes:
        """Raises NoiseError."""
        payload = self._state.decrypt_and_hash(encrypted)
        self._messages += 1
        return payload

    def split(self) -> tuple[bytes, bytes]:
        """The keys for sending and for receiving, 32 bytes each. Raises NoiseError while the handshake runs."""
        if not self.finished:
            raise NoiseError("the handshake is not finished")
        to_responder, to_initiator = self._state.split()
        return (to_responder, to_initiator) if self._initiator else (to_initiator, to_responder)

    def _turn(self, *, writing: bool) -> tuple[str, ...]:
        initiators_turn = self._messages % 2 == 0
        if self.finished or writing != (initiators_turn == self._initiator):
            raise NoiseError("message out of turn")
        return _PATTERN[self._messages]

    def _write(self, token: str) -> bytes:
        match token:
            case "e":
                public = self._ephemeral.public_key().public_bytes_raw()
                self._state.mix_hash(public)
                return public
            case "s":
                return self._state.encrypt_and_hash(self._static.public_key().public_bytes_raw())
            case _:
                self._mix_shared_secret(token)
                return b""

    def _read(self, token: str, message: bytes) -> bytes:
        match token:
            case "e":
                public, rest = _cut(message, _KEY)
                self._state.mix_hash(public)
                self._remote_ephemeral = X25519PublicKey.from_public_bytes(public)
                return rest
            case "s":
                encrypted, rest = _cut(message, _KEY + self._state.tag_size)
                self._remote_static = X25519PublicKey.from_public_bytes(self._state.decrypt_and_hash(encrypted))
                return rest
            case _:
                self._mix_shared_secret(token)
                return message

    def _mix_shared_secret(self, token: str) -> None:
        """The token names the initiator's key, then the responder's: "es" is initiator's e with responder's s."""
        ours, theirs = (token[0], token[1]) if self._initiator else (token[1], token[0])
        private = self._ephemeral if ours == "e" else self._static
        public = self._remote_ephemeral if theirs == "e" else self._remote_static
        if public is None:
            raise NoiseError("message out of turn")
        try:
            secret = private.exchange(public)
        except ValueError:
            # What `cryptography` raises for the all-zero result of a public key of low order (RFC 7748, section 6.1).
            secret = _NO_SECRET
        if hmac.compare_digest(secret, _NO_SECRET):
            raise NoiseError("the public key is of low order")
        self._state.mix_key(secret)


def _hkdf(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    """Two outputs (section 4.3)."""
    temporary = hmac.digest(chaining_key, material, "sha256")
    first = hmac.digest(temporary, b"\x01", "sha256")
    return first, hmac.digest(temporary, first + b"\x02", "sha256")


def _cut(message: bytes, size: int) -> tuple[bytes, bytes]:
    if len(message) < size:
        raise NoiseError(f"message ends after {len(message)} bytes of a key of {size}")
    return message[:size], message[size:]
