"""A cipher that costs next to nothing, for large runs of whole nodes in virtual time. It keeps nothing secret."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag

from ipop_modules.tincan.link.protocol.keys import TAG_SIZE

MARK_SIZE: Final = 4


class CheapCipher:
    """Has AES-GCM's lengths; what stands for the tag is a part of the key and the nonce.

    So another key or nonce is noticed, and altered data is not: nobody alters any in virtual time.
    """

    def __init__(self, key: bytes) -> None:
        self._mark: Final = key[:MARK_SIZE]

    def encrypt(self, nonce: bytes, data: bytes | memoryview, _associated: None, /) -> bytes:
        return b"".join((data, self._mark, nonce))

    def encrypt_into(self, nonce: bytes, data: bytes | memoryview, _associated: None, into: memoryview, /) -> int:
        into[:] = sealed = self.encrypt(nonce, data, None)
        return len(sealed)

    def decrypt(self, nonce: bytes, data: bytes | memoryview, _associated: None, /) -> bytes:
        if bytes(data[-TAG_SIZE:]) != self._mark + nonce:
            raise InvalidTag
        return bytes(data[:-TAG_SIZE])
