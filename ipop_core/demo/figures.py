"""What the demo measured, and whether it is as it ought to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from ipop_core.demo.ping import Reply

UNPUNCHABLE: Final = "symmetric"
STRICT: Final = frozenset({"symmetric", "port-restricted"})


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Times are in milliseconds; None is what did not happen or could not be known."""

    place: str
    """`namespaces` or `loopback`."""
    nat: str
    """In front of Alice and of Bob, with a comma between."""
    sent: int
    received: int
    lost: int
    lookup_ms: float | None
    """How long the directory took to say which node has Bob's address."""
    looked_up_after_ms: float | None
    """From the first ping to that answer. Longer: questions come up empty until both nodes are in the ring."""
    first_reply_ms: float | None
    first_reply_hops: int | None
    """Overlay links between Alice and Bob when their session began."""
    relay_rtt_ms: float | None
    """Median of the pings before the direct path; those that waited for the lookup only count if all did."""
    direct: bool
    """The last pings went from router to router, and over no relay: from a capture, not from the nodes' own word."""
    direct_after_ms: float | None
    """From the first ping to the first one that took the direct path."""
    direct_rtt_ms: float | None
    """Median of the replies to the pings sent after that."""
    relayed_by_others: int
    """Packets that the nine passed on during the last pings, by their counters; their housekeeping is among them."""
    canary_on_card: int | None
    """Packets on Alice's card with the pings' secret payload."""
    canary_on_public: int | None
    """The same on the public segment, where nobody may read it."""
    cards_up_ms: Mapping[str, float]
    """From the start of the command to the card's address."""
    start_ms: float
    """From the start of the demo to the first ping."""
    pss_mb: Mapping[str, float | None]
    """Proportional memory of all processes of a node, in MB."""

    def faults(self) -> Iterator[str]:
        """What is not as it ought to be."""
        if self.lost:
            yield f"{self.lost} of {self.sent} pings were lost"
        expected = is_direct_possible(*self.nat.split(","))
        if expected and not self.direct:
            yield "no direct path was found"
        if self.direct and not expected:
            yield "a direct path was found where none should be possible"
        if self.canary_on_public:
            yield f"{self.canary_on_public} packets on the public segment could be read"
        if self.canary_on_card == 0:
            yield "the capture on Alice's card missed the pings, so it proves nothing"


def is_direct_possible(one: str, other: str) -> bool:
    """Whether a hole can be punched through this pair of NATs.

    A symmetric NAT sends from a port that only the receiver of the packet learns; a strict one on the other side lets
    nothing in from a port that it was not told (RFC 5128, section 3.3).
    """
    return not ((one == UNPUNCHABLE and other in STRICT) or (other == UNPUNCHABLE and one in STRICT))


def milliseconds(start: float, end: float | None) -> float | None:
    return None if end is None else round((end - start) * 1000, 1)


def round_trips(replies: Sequence[Reply], direct_from: int | None) -> tuple[float | None, float | None]:
    """Median round trip of the pings before `direct_from` (over the overlay), and of those from it on.

    The first pings are held back until Bob is found, so those sent before the first answer count only if all were.
    """
    before = [reply for reply in replies if direct_from is None or reply.sequence < direct_from]
    after = [reply for reply in replies if direct_from is not None and reply.sequence >= direct_from]
    undelayed = [reply for reply in before if reply.sent >= before[0].received]
    return _median(undelayed or before[1:] or before), _median(after)


def _median(replies: Sequence[Reply]) -> float | None:
    return round(median(reply.rtt_ms for reply in replies), 3) if replies else None
