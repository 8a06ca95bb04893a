"""How large a datagram may be on a path: found by probes of the path itself (DPLPMTUD, RFC 8899).

ICMP is not needed and not believed. A search begins at BASE, which every path must carry, tries the sizes of common
links from above, and then halves the gap that is left. What was found is confirmed now and then, and at once when most
blocks are lost or one came in part: a path may have become narrower without a word. What this node's own card refuses
is left without a probe. A path that carries nothing large is not probed.

A path may also just be slow, or carry nothing at all for a while. So an answer that comes late still counts; where BASE
meets silence, too, nothing holds that was concluded from it; and a size that was left is soon tried again.
"""

from __future__ import annotations

from math import inf
from typing import Final

BASE: Final = 1200
LARGEST: Final = 65_000
COMMON: Final = (8972, 8952, 1472, 1452, 1432, 1400, 1372, 1232)
"""Datagrams that fit links of 9,000 and 1,500 bytes behind IPv4 and IPv6 headers, then 1,480, 1,448, 1,420, 1,280."""
CLOSE_ENOUGH: Final = 32
"""A gap of this part of the size (one 32nd) is not worth another probe."""
TRIES: Final = 3
PATIENCE: Final = 0.5
SEARCH_AGAIN: Final = 600.0
"""RFC 8899, PMTU_RAISE_TIMER."""
CONFIRM_AGAIN: Final = 60.0
TRUSTED: Final = 2.0
"""Seconds for which a size that was confirmed stands, though single datagrams are lost."""


class MtuSearch:
    """The size of datagrams on one path in one direction. Times are seconds on one monotonic clock."""

    __slots__ = ("_ceiling", "_next", "_probing", "_search_at", "_tries", "_unanswered", "confirmed", "size", "wanted")

    def __init__(self) -> None:
        self.size = BASE
        """Bytes of UDP payload that pass."""
        self.wanted = False
        """Something larger than one datagram was sent since the last search or confirmation."""
        self.confirmed = -inf
        """When a size was last seen to pass."""
        self._ceiling = LARGEST + 1
        """What this node's own card refused, or a size that no datagram has."""
        self._unanswered: tuple[int, ...] = ()
        """Larger sizes that were probed in vain since the search began."""
        self._probing: int | None = None
        self._tries = 0
        self._next = -inf
        self._search_at = inf

    @property
    def next_wake(self) -> float:
        return self._next if self.wanted else inf

    def wake(self, now: float) -> int | None:
        """The size of the probe to send now; None when none is due."""
        if now < self.next_wake:
            return None
        if self._probing is not None and self._tries >= TRIES:
            self._give_up(self._probing, now)
        if self._probing is None:
            self._choose(now)
        self._tries += 1
        self._next = now + PATIENCE
        return self._probing

    def answered(self, size: int, now: float) -> None:
        """A probe of this size arrived at the other side."""
        is_late = self.size < size < self._ceiling and size in self._unanswered
        if size != self._probing and not is_late:
            return
        self.confirmed = now
        self.size = size
        self._unanswered = tuple(other for other in self._unanswered if other > size)
        self._probing = None
        if self._candidate() is not None:
            self._next = now
            return
        self._next = now + CONFIRM_AGAIN
        self.wanted = False
        if is_late:  # it had not been left: nothing is to be searched again soon
            self._search_at = max(self._search_at, now + SEARCH_AGAIN)

    def doubt(self, now: float) -> None:
        """Find out whether the size still passes, before a larger one is tried: most of what was sent is lost."""
        if self.size in (BASE, self._probing):
            return
        if self._probing is None or now >= self.confirmed + TRUSTED:
            self._probing, self._tries = self.size, 0
            self._next = now
            self.wanted = True

    def unsendable(self, now: float) -> None:
        """This node's own card does not take the probe that `wake` has just given: another size is due at once."""
        if self._probing is not None and self._probing > BASE:
            self._forbid(self._probing, now)

    def refused(self, now: float) -> None:
        """This node's own card takes no datagram of the size in use: that is certain, unlike what ICMP says."""
        if self.size > BASE:
            self._forbid(self.size, now)
            self.wanted = True

    def _choose(self, now: float) -> None:
        if self._search_at == inf or now >= self._search_at:
            self._search_at = now + SEARCH_AGAIN
            self._ceiling, self._unanswered = LARGEST + 1, ()
        self._probing = self._candidate() or self.size
        self._tries = 0

    def _forbid(self, size: int, now: float) -> None:
        self._ceiling = min(self._ceiling, size)
        self._probing, self._next = None, now
        if size <= self.size:
            self.size = BASE

    def _give_up(self, size: int, now: float) -> None:
        """No probe of this size was answered in time."""
        if size <= BASE:
            self._unanswered, self._tries = (), 0
            return
        self._probing = None
        self._unanswered += (size,)
        if size <= self.size:
            self.size = BASE
            self._search_at = min(self._search_at, now + CONFIRM_AGAIN)

    def _candidate(self) -> int | None:
        too_large = min(self._ceiling, *self._unanswered, LARGEST + 1)
        for size in COMMON:
            if self.size < size < too_large:
                return size
        if self.size >= COMMON[1]:
            return None  # wider than jumbo frames is loopback and the like: not worth a search
        gap = too_large - self.size
        return self.size + gap // 2 if gap * CLOSE_ENOUGH > self.size else None
