"""How many probes an address gets that has never answered.

Candidates are a peer's word. They may name somebody else's address, so no list of candidates, however long and however
often it comes, makes this node send more than a few small datagrams to an address that has not answered.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from .mapping import Address

TO_AN_ADDRESS: Final = 16
"""Unanswered probes to one address and port in a WINDOW: two rounds of tries (path.py)."""
TO_A_HOST: Final = 96
"""Unanswered probes to one IP address in a WINDOW: all candidates of a peer behind one router."""
TO_ALL: Final = 2048
"""Unanswered probes of this node in a WINDOW."""
WINDOW: Final = 30.0
MAX_KNOWN: Final = 4096


@dataclass(slots=True)
class _Count:
    since: float
    sent: int = 0


class Courtesy:
    """Counts what was sent to whom; times are seconds on one monotonic clock."""

    def __init__(self) -> None:
        self._counts: OrderedDict[Address | bytes, _Count] = OrderedDict()
        self._all = _Count(0.0)

    def allows(self, address: Address, now: float) -> bool:
        """Count one more probe to an address that has not answered; False when it must not be sent."""
        counts = [self._count(address, now), self._count(address[0], now), self._fresh(self._all, now)]
        limits = (TO_AN_ADDRESS, TO_A_HOST, TO_ALL)
        if any(count.sent >= limit for count, limit in zip(counts, limits, strict=True)):
            return False
        for count in counts:
            count.sent += 1
        return True

    def answered(self, address: Address) -> None:
        """This address proved itself: nothing counts against it any more."""
        self._counts.pop(address, None)
        self._counts.pop(address[0], None)

    def _count(self, key: Address | bytes, now: float) -> _Count:
        count = self._counts.pop(key, None) or _Count(now)
        self._counts[key] = count
        if len(self._counts) > MAX_KNOWN:
            self._counts.popitem(last=False)
        return self._fresh(count, now)

    def _fresh(self, count: _Count, now: float) -> _Count:
        if now - count.since >= WINDOW:
            count.since, count.sent = now, 0
        return count
