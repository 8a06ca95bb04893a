"""What a full socket did not take: held within bounds, by what it is, and sent when there is room again.

A socket is full while the kernel has not yet got rid of what it was given before. Other nodes' packets have a part of
their own in what is held: a drop says to their senders to send less, and of the last quarter, which is for the ring's
messages, sealed datagrams have nothing (as in hospitality.py). This node's own need more, but no more of them come, as
the card is not read while a socket is full. The rest is for what keeps links and the ring alive, which goes first, too;
much of that is in answer to peers, so for each address there is no more of it than a part of what is left (after
Choudhury and Hahne, "Dynamic Queue Length Thresholds", 1998). The card's own queue fills up meanwhile, and that holds
the programs back.

A socket that has taken nothing for some seconds is stuck: what it holds is dropped, and the card is read again for the
peers that are reached by others. It is no longer stuck when it takes something.
"""

from __future__ import annotations

from collections import Counter, deque
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
    """Other nodes' sealed datagrams, which carry their traffic."""
    FORWARDED_MESSAGE = "forwarded_message"
    """Other nodes' messages of the ring and the directory."""
    OWN = "own"
    CONTROL = "control"


HELD: Final = {
    Load.FORWARDED: 192 * 1024,
    Load.FORWARDED_MESSAGE: 256 * 1024,
    Load.OWN: 1536 * 1024,
    Load.CONTROL: 2048 * 1024,
}
"""Bytes that may be held when there is one more of the kind: other nodes' alone for theirs, else altogether.

A turn of the card is 10 blocks at the most.
"""
PART_OF_CONTROL: Final = 1 / 4
"""What one address gets, of what is left."""
OVERHEAD: Final = 512
"""Bytes that a parcel is taken to use beside its datagrams."""
STUCK_AFTER: Final = 3.0


class Parcel(NamedTuple):
    """Datagrams of `segment` bytes, the last one at most that, for one address: a block, or what is left of it."""

    endpoint: Endpoint
    data: bytes
    segment: int
    load: Load

    @property
    def used(self) -> int:
        return len(self.data) + OVERHEAD


class Backlog:
    """The parcels of one socket. Times are seconds on one monotonic clock."""

    def __init__(self) -> None:
        self._urgent: Final[deque[Parcel]] = deque()
        self._others: Final[deque[Parcel]] = deque()
        self._used = 0
        self._forwarded = 0
        """Of it, other nodes'."""
        self._urgent_for: Final[Counter[Endpoint]] = Counter()
        """Of it, what keeps links alive, by address."""
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

    def add(self, parcel: Parcel, now: float) -> bool:
        """Hold what the socket did not take; False where there is no room and it is dropped."""
        if not self.is_full:
            self.is_full, self._since = True, now
        if not self._has_room(parcel):
            return False
        self._count(parcel, parcel.used)
        (self._urgent if parcel.load is Load.CONTROL else self._others).append(parcel)
        return True

    def first(self) -> Parcel | None:
        """What is to be sent next."""
        queue = self._urgent or self._others
        return queue[0] if queue else None

    def remove(self) -> None:
        """The socket took what came first, or will never take it."""
        parcel = (self._urgent or self._others).popleft()
        self._count(parcel, -parcel.used)

    def shorten(self, rest: Parcel) -> None:
        """The socket took a part of what came first: this is left."""
        queue = self._urgent or self._others
        self._count(rest, len(rest.data) - len(queue[0].data))
        queue[0] = rest

    def progressed(self, now: float) -> None:
        """The socket took something, be it held before or not."""
        self._since, self.is_stuck = now, False

    def relieve(self) -> None:
        """Nothing is left, and there is room."""
        self.is_full = self.is_stuck = False

    def give_up(self, now: float) -> int:
        """Drop everything where the socket has taken nothing for too long; returns how many parcels."""
        if now < self._since + STUCK_AFTER:
            return 0
        dropped = len(self)
        for queue in (self._urgent, self._others):
            queue.clear()
        self._urgent_for.clear()
        self._used = self._forwarded = 0
        self._since, self.is_stuck = now, True
        return dropped

    def _has_room(self, parcel: Parcel) -> bool:
        left = HELD[Load.CONTROL] - self._used
        if parcel.load is Load.CONTROL:
            return self._urgent_for[parcel.endpoint] + parcel.used <= PART_OF_CONTROL * left
        if self.is_stuck:
            return False
        if parcel.load is Load.OWN:
            return self._used + parcel.used <= HELD[Load.OWN]
        return self._forwarded + parcel.used <= HELD[parcel.load] and parcel.used <= left

    def _count(self, parcel: Parcel, size: int) -> None:
        self._used += size
        if parcel.load is Load.CONTROL:
            self._urgent_for[parcel.endpoint] += size
            if not self._urgent_for[parcel.endpoint]:
                del self._urgent_for[parcel.endpoint]
        elif parcel.load is not Load.OWN:
            self._forwarded += size
