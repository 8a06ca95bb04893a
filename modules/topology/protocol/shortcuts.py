"""Direct links that traffic asks for: one for each busy peer, up to a cap, dropped when idle.

At the cap, a peer that goes on asking may take the place of the one to which least goes. What counts is what this node
sends, which others can't make up as they like, over the same seconds for both. It takes twice as much at least, takes
it from nobody who has just got it, and one peer does in WEIGH_EVERY seconds: so peers of about the same weight don't
take turns. The link of who gave way stays while anything goes by it, as every session's does. Of these there are few
at a time, so that the cap means something to whoever makes peers by the dozen.

A peer to which none could be made is tried again after pauses that grow, and at once when it has had a direct link
meanwhile, whoever made it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from ipop_modules.topology.protocol.chance import Random, spread
from ipop_modules.topology.protocol.effects import Connect, Release, Weigh
from ipop_modules.topology.protocol.outbox import Outbox

KIND = "shortcut"
WEIGH_EVERY: Final = 10.0
COMPARED: Final = 3 * WEIGH_EVERY
"""Seconds after which an earlier weighing says nothing any more."""
ASKING: Final = 5.0
"""Seconds since its last demand for which a peer counts as one that asks; the links repeat it every two seconds."""
HELD: Final = 30.0
"""Seconds for which nobody has to give way."""
TIMES: Final = 2.0
LEAST: Final = 1000.0
"""Bytes a second; for less nobody has to give way."""
LEAVING: Final = 8
"""One for so many of the cap may have given way and still be linked; one in any case."""
MAX_ASKING: Final = 256
AGAIN: Final = 15.0
"""Seconds, half as much or half as much more, from a trial that failed to the next; after each, twice as many."""
LONGEST: Final = 240.0
MAX_FAILED: Final = 256


@dataclass(slots=True)
class _Failed:
    trials: int
    until: float
    """When the next one may begin."""


class Shortcuts:
    def __init__(self, out: Outbox, cap: int, random: Random) -> None:
        self._out = out
        self._random = random
        self.cap = cap
        """When it is lowered, shortcuts that are there stay until they are idle."""
        self.displaced = 0
        """How many gave way so far."""
        self._wanted: dict[bytes, float] = {}
        """Since when each is there."""
        self._asking: dict[bytes, float] = {}
        """When each peer that found no room asked last."""
        self._leaving: set[bytes] = set()
        """Those that gave way and may still be linked."""
        self._failed: dict[bytes, _Failed] = {}
        self._weigh_at = -inf
        self._weighed_at = -inf
        self._sent: dict[bytes, int] = {}
        """Bytes that had gone to each of these when they were weighed last."""

    def __len__(self) -> int:
        return len(self._wanted)

    def __contains__(self, node: bytes) -> bool:
        return node in self._wanted

    def demand(self, node: bytes, now: float) -> None:
        if node in self._wanted or self._is_resting(node, now):
            return
        if len(self._wanted) < self.cap:
            self._want(node, now)
            return
        self._asking.pop(node, None)
        self._asking[node] = now
        if len(self._asking) > MAX_ASKING:
            del self._asking[next(iter(self._asking))]
        if self.cap and self._weigh_at <= now:
            self._weigh_at = now + WEIGH_EVERY
            self._out.emit(Weigh())

    def weigh(self, sent: Mapping[bytes, int], now: float) -> None:
        """How many bytes have gone to each node so far: compare it with the last time, and let one give way."""
        seconds, before = now - self._weighed_at, self._sent
        self._asking = {node: at for node, at in self._asking.items() if now < at + ASKING}
        self._weighed_at = now
        self._sent = {node: sent[node] for node in (*self._wanted, *self._asking) if node in sent}
        if not 0 < seconds <= COMPARED or len(self._wanted) < self.cap:
            return

        def rate(node: bytes) -> float:
            return max(0, self._sent.get(node, 0) - before.get(node, self._sent.get(node, 0))) / seconds

        held = [node for node, since in self._wanted.items() if since + HELD <= now]
        if held and self._asking and len(self._leaving) < max(1, self.cap // LEAVING):
            idlest, busiest = min(held, key=rate), max(self._asking, key=rate)
            if rate(busiest) >= max(LEAST, TIMES * rate(idlest)):
                self._displace(idlest, busiest, now)

    def idle(self, node: bytes) -> None:
        self._leaving.discard(node)
        if node in self._wanted:
            self._forget(node)

    def link_down(self, node: bytes) -> None:
        self._leaving.discard(node)
        self._failed.pop(node, None)

    def failed(self, node: bytes) -> None:
        """It is tried again on demand, when it has rested since this trial began."""
        begun = self._wanted.get(node)
        if begun is None:
            return
        trials = self._failed[node].trials + 1 if node in self._failed else 1
        pause = spread(self._random, min(AGAIN * 2.0 ** (trials - 1), LONGEST))
        self._failed.pop(node, None)
        self._failed[node] = _Failed(trials, begun + pause)
        if len(self._failed) > MAX_FAILED:
            del self._failed[next(iter(self._failed))]
        self.idle(node)

    def relink(self, wanted: Iterable[bytes], up: Collection[bytes], now: float) -> None:
        """The link module, or this one, was restarted: the link module knows of these wishes, and must of all.

        `up`: all that are linked, for whatever reason.
        """
        self._leaving.intersection_update(up)
        for node in self._failed.keys() & set(up):
            del self._failed[node]
        known = set(wanted)
        for node in self._wanted.keys() - known:
            self._out.emit(Connect(node, None, KIND))
        for node in known - self._wanted.keys():
            self._wanted[node] = now

    def _is_resting(self, node: bytes, now: float) -> bool:
        failed = self._failed.get(node)
        if failed is not None and self._out.is_linked(node):
            del self._failed[node]
            return False
        return failed is not None and now < failed.until

    def _want(self, node: bytes, now: float) -> None:
        self._asking.pop(node, None)
        self._leaving.discard(node)
        self._wanted[node] = now
        self._out.emit(Connect(node, None, KIND))

    def _forget(self, node: bytes) -> None:
        del self._wanted[node]
        self._out.emit(Release(node, KIND))

    def _displace(self, idlest: bytes, busiest: bytes, now: float) -> None:
        self.displaced += 1
        self._forget(idlest)
        self._leaving.add(idlest)
        self._want(busiest, now)
