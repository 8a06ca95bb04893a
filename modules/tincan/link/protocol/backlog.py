"""What a full socket did not take: held within bounds, by what it is, and sent when there is room again.

A socket is full while the kernel has not yet got rid of what it was given before. All that one holds shares one bound,
and what matters less meets it sooner: other nodes' packets, to which a drop says to send less; then this node's own, of
which no more come, as the card is not read while a socket is full; then what keeps links and the ring alive, which goes
first, too. The card's own queue fills up meanwhile, and that holds the programs back.

A socket that has taken nothing for some seconds is stuck: what it holds is dropped, and the card is read again for the
peers that are reached by others. It is no longer stuck when it takes something.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final, NamedTuple

from .events import Endpoint


class Unsent(Enum):
    """Why a socket did not take datagrams, where that can be mended."""

    TOO_LONG = "too long"
    """One is longer than the card takes that it would leave by."""
    FULL = "full"


class Load(Enum):
    """What datagrams carry, that which matters least first."""

    FORWARDED = "forwarded"
    OWN = "own"
    CONTROL = "control"


HELD: Final = {Load.FORWARDED: 256 * 1024, Load.OWN: 1536 * 1024, Load.CONTROL: 2048 * 1024}
"""Bytes that may be held altogether when there is one more of the kind. A turn of the card is 10 blocks at the most."""
OVERHEAD: Final = 512
"""Bytes that a parcel is taken to use beside its datagrams."""
STUCK_AFTER: Final = 3.0


class Parcel(NamedTuple):
    """Datagrams of `segment` bytes, the last one at most that, for one address."""

    endpoint: Endpoint
    data: bytes
    segment: int


class Backlog:
    """The parcels of one socket. Times are seconds on one monotonic clock."""

    def __init__(self) -> None:
        self._urgent: Final[deque[Parcel]] = deque()
        self._others: Final[deque[Parcel]] = deque()
        self._used = 0
        self._since = 0.0
        """When the socket last took something, or became full."""
        self.is_full = False
        """From the first parcel that it did not take until it has taken all."""
        self.is_stuck = False

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    @property
    def holds_up(self) -> bool:
        """Whether the card must wait for this socket."""
        return self.is_full and not self.is_stuck

    def add(self, load: Load, parcel: Parcel, now: float) -> bool:
        """Hold what the socket did not take; False where there is no room and it is dropped."""
        if not self.is_full:
            self.is_full, self._since = True, now
        size = len(parcel.data) + OVERHEAD
        if self._used + size > HELD[load] or (self.is_stuck and load is not Load.CONTROL):
            return False
        self._used += size
        (self._urgent if load is Load.CONTROL else self._others).append(parcel)
        return True

    def first(self) -> Parcel | None:
        """What is to be sent next."""
        queue = self._urgent or self._others
        return queue[0] if queue else None

    def taken(self, now: float) -> None:
        """The socket took what came first, or will never take it."""
        self._used -= len((self._urgent or self._others).popleft().data) + OVERHEAD
        self._since, self.is_stuck = now, False

    def relieve(self) -> None:
        """Nothing is left, and there is room."""
        self.is_full = self.is_stuck = False

    def give_up(self, now: float) -> int:
        """Drop everything where the socket has taken nothing for too long; returns how many parcels."""
        if now < self._since + STUCK_AFTER:
            return 0
        dropped = len(self)
        self._urgent.clear()
        self._others.clear()
        self._used, self._since, self.is_stuck = 0, now, True
        return dropped
