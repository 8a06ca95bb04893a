"""A pair of session keys: sealing and opening blocks, and how long the keys may live.

A block's nonce is four zero bytes and its number, 64 bits in network byte order, as in Noise's own transport messages;
there is no associated data, since the number is in the nonce and the key is bound to everything else. One pair lives
under one receiver id. The lifetime follows WireGuard (section 6.1 of its paper): a session that carries card traffic
changes keys after two minutes, an idle one after an hour, and keys a minute past that are refused.
"""

from __future__ import annotations

from math import inf
from struct import Struct
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag

from .replay import ReplayWindow

TAG_SIZE: Final = 16
MAX_NUMBER: Final = 2**60
REKEY_AFTER: Final = 120.0
REKEY_IDLE_AFTER: Final = 3600.0
REFUSE_AFTER_REKEY: Final = 60.0

_nonce: Final = Struct("!IQ").pack


class Cipher(Protocol):
    """An AEAD with a nonce of 12 bytes and a tag of TAG_SIZE: AESGCM, or a cheap one in a simulation."""

    def encrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: None, /) -> bytes: ...

    def encrypt_into(self, nonce: bytes, data: bytes | memoryview, associated_data: None, into: memoryview, /) -> int:
        """As `encrypt`, into a buffer of exactly the sealed length; returns that."""
        ...

    def decrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: None, /) -> bytes:
        """Raises cryptography.exceptions.InvalidTag."""
        ...


class KeysExhausted(RuntimeError):
    """MAX_NUMBER blocks were sealed with one key: the session must make new ones."""


class BadBlock(ValueError):
    """A sealed block that was seen before or is forged. `reason` is "replay" or "forged"."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"block refused: {reason}")
        self.reason = reason


class KeyPair:
    """One key for each direction of a session, with the counters that go with them. Times are monotonic seconds."""

    __slots__ = (
        "_check",
        "_decrypt",
        "_encrypt",
        "_encrypt_into",
        "_mark",
        "_next_number",
        "created",
        "is_initiator",
        "is_short_lived",
        "local_rid",
        "refuse_at",
        "rekey_at",
        "remote_rid",
        "window",
    )

    def __init__(
        self, send: Cipher, receive: Cipher, local_rid: int, remote_rid: int, *, is_initiator: bool, now: float
    ) -> None:
        self.local_rid = local_rid
        self.remote_rid = remote_rid
        self.is_initiator = is_initiator
        self.created = now
        self.is_short_lived = False
        """Card traffic was noted under these keys."""
        self.rekey_at = rekey_time(now, inf)
        self.refuse_at = self.rekey_at + REFUSE_AFTER_REKEY
        """From this time on the keys neither seal nor open; the caller's session checks it, for every block."""
        self.window = ReplayWindow()
        self._next_number = 0
        # Bound methods, looked up once: seal and open run for every block.
        self._encrypt = send.encrypt
        self._encrypt_into = send.encrypt_into
        self._decrypt = receive.decrypt
        self._check = self.window.check
        self._mark = self.window.mark

    def seal(self, plaintext: bytes | memoryview) -> tuple[int, bytes]:
        """The block's number and the block, TAG_SIZE bytes longer than its plaintext. Raises KeysExhausted."""
        number = self._take_number()
        return number, self._encrypt(_nonce(0, number), plaintext, None)

    def seal_into(self, plaintext: bytes | memoryview, into: memoryview) -> int:
        """As `seal`, into a buffer of exactly that length; returns the block's number. Raises KeysExhausted."""
        number = self._take_number()
        self._encrypt_into(_nonce(0, number), plaintext, None, into)
        return number

    def open(self, number: int, sealed: bytes | memoryview) -> bytes:
        """The plaintext. Raises BadBlock."""
        if number >= MAX_NUMBER:
            raise BadBlock("forged")  # however well it is sealed
        if not self._check(number):
            raise BadBlock("replay")
        try:
            plaintext = self._decrypt(_nonce(0, number), sealed, None)
        except InvalidTag:
            raise BadBlock("forged") from None
        self._mark(number)
        return plaintext

    def _take_number(self) -> int:
        number = self._next_number
        if number >= MAX_NUMBER:
            raise KeysExhausted(f"{number} blocks were sealed with one key")
        self._next_number = number + 1
        return number

    def note_card_traffic(self, now: float) -> None:
        """The session carries card traffic at `now`: from here on the short lifetime holds."""
        self.is_short_lived = True
        self.rekey_at = min(self.rekey_at, rekey_time(self.created, now))
        self.refuse_at = self.rekey_at + REFUSE_AFTER_REKEY


def rekey_time(created: float, first_card_traffic: float) -> float:
    """When keys made at `created` are to be changed; `first_card_traffic` is infinite when there was none."""
    return min(created + REKEY_IDLE_AFTER, max(created + REKEY_AFTER, first_card_traffic))
