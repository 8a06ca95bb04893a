"""Nodes that this one has heard of but has no direct link to, and those that could not be reached."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Final

import msgspec

from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.chance import Random, spread

REMEMBER: Final = 30.0
FIRST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 64.0
NEAREST_KEPT: Final = 8
"""Of what was heard, so many are kept on each side of this node: a liar can't fill the memory."""
MAX_AVOIDED: Final = 256


class _Heard(msgspec.Struct, frozen=True):
    via: bytes | None
    expires: float


class _Avoided(msgspec.Struct, frozen=True):
    delay: float
    until: float


class Acquaintances:
    def __init__(self, me: bytes, random: Random) -> None:
        self._me = me
        self._random = random
        self._heard: dict[bytes, _Heard] = {}
        self._avoided: dict[bytes, _Avoided] = {}

    def hear(self, nodes: Iterable[bytes], via: bytes | None, now: float) -> bool:
        """`via` has a direct link to these nodes, or was the way to who has. Whether one of them is news."""
        is_news = False
        for node in nodes:
            if node != self._me:
                known = self._heard.get(node)
                is_news = is_news or known is None or known.expires <= now
                self._heard[node] = _Heard(via, now + REMEMBER)
        self._trim(now)
        return is_news

    def candidates(self, now: float) -> list[bytes]:
        """Nodes worth a connection attempt now."""
        live = [node for node, heard in self._heard.items() if heard.expires > now]
        return [node for node in live if not self._is_barred(node, now)] if self._avoided else live

    def via(self, node: bytes) -> bytes | None:
        heard = self._heard.get(node)
        return heard.via if heard else None

    def is_suspect(self, node: bytes) -> bool:
        """It went away or could not be reached, and has not been seen since."""
        return node in self._avoided

    def suspect(self, node: bytes, now: float) -> None:
        """Its link went down: worth one attempt at once, but not to be counted on."""
        self._avoid(node, self._avoided.get(node) or _Avoided(0.0, now))
        self.hear([node], None, now)

    def failed(self, node: bytes, now: float) -> None:
        """An attempt failed: the next one waits longer, and only if somebody still names the node."""
        self._heard.pop(node, None)
        before = self._avoided.get(node)
        delay = min(max(FIRST_BACKOFF, 2 * before.delay if before else 0.0), LONGEST_BACKOFF)
        self._avoid(node, _Avoided(delay, now + spread(self._random, delay)))

    def forgive(self, node: bytes) -> None:
        """It was seen alive."""
        self._avoided.pop(node, None)

    def next_forgiven(self, now: float) -> float:
        """When the next node that somebody named may be tried again."""
        if not self._avoided:
            return inf
        named = [self._avoided[node].until for node in self._heard if node in self._avoided]
        return min((until for until in named if until > now), default=inf)

    def _avoid(self, node: bytes, avoided: _Avoided) -> None:
        self._avoided.pop(node, None)
        self._avoided[node] = avoided
        while len(self._avoided) > MAX_AVOIDED:
            del self._avoided[next(iter(self._avoided))]

    def _is_barred(self, node: bytes, now: float) -> bool:
        avoided = self._avoided.get(node)
        return avoided is not None and avoided.until > now

    def _trim(self, now: float) -> None:
        if len(self._heard) <= 2 * NEAREST_KEPT:
            return
        live = {node: heard for node, heard in self._heard.items() if heard.expires > now}
        forward, backward = ids.around(self._me, live)
        keep = set(forward[:NEAREST_KEPT] + backward[:NEAREST_KEPT])
        self._heard = {node: heard for node, heard in live.items() if node in keep}
