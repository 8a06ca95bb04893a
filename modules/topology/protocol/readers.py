"""Whether who asks for records is really there: a long answer goes only to somebody who has had a short one.

A routed Get names its asker, and anyone can name another: small questions would send long answers to somebody who never
asked. So an answer is short at first, and brings a token where there is more; whoever got it shows it with the next
question. It is an HMAC over the asker and the way to it, so the storer keeps nothing (as in RFC 9000, section 8.1). A
neighbour that asks over its own link has proven who it is.
"""

from __future__ import annotations

import hmac
from typing import Final

from ipop_modules.topology.protocol.chance import Random
from ipop_modules.topology.protocol.effects import Source
from ipop_modules.topology.protocol.messages import TOKEN_SIZE, Copy, Get

SHORT: Final = 1024
"""Bytes of records, or one record that is longer."""
LIFETIME: Final = 30.0
"""Seconds for which a token holds at least, and at most twice as long."""


class Readers:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._secret = b""
        """Drawn when it is needed first."""

    def answer(self, get: Get, copies: list[Copy], source: Source, now: float) -> tuple[list[Copy], bytes]:
        """Those of the copies that may be told now, and the token to ask for all of them with, empty if these are."""
        most = _count(copies)
        if most == len(copies) or source.is_of(get.asker) or self._is_shown(get, now):
            return copies, b""
        return copies[:most], self._token(get, int(now // LIFETIME))

    def _is_shown(self, get: Get, now: float) -> bool:
        period = int(now // LIFETIME)
        return any(hmac.compare_digest(get.token, self._token(get, at)) for at in (period, period - 1))

    def _token(self, get: Get, period: int) -> bytes:
        self._secret = self._secret or self._random(32)
        told = get.asker + (get.via or b"") + period.to_bytes(8, "big", signed=True)
        return hmac.digest(self._secret, told, "sha256")[:TOKEN_SIZE]


def _count(copies: list[Copy]) -> int:
    """How many make a short answer: one at least, if there is any."""
    total = 0
    for number, copy in enumerate(copies):
        total += copy.record.size
        if total > SHORT:
            return max(1, number)
    return len(copies)
