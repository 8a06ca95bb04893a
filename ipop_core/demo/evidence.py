"""What a capture of the public segment says about the pings' way. It doesn't ask the nodes.

All that IPOP sends is encrypted, so what carries a ping is told by its time and its size. Between the moment that a
ping was sent and the moment that its answer came (a millisecond or two), a datagram from Alice's router to Bob's of the
size that is usual in the last of these intervals is taken to carry it; probes and housekeeping have other sizes and
other times. A ping went over a relay if in that interval a datagram at least as large (a relayed packet is the same
one with a header more) left Alice's router for an overlay node, and one from an overlay node came to Bob's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ipop_core.demo.ping import Reply

LAST: Final = 8
"""So many of the last pings are looked at to say how pings travel in the end."""
TOLERANCE: Final = 0.0005
"""Seconds by which the clocks of ping and of the capture may differ."""


class Datagram(Protocol):
    @property
    def monotonic(self) -> float: ...
    @property
    def source(self) -> str: ...
    @property
    def destination(self) -> str: ...
    @property
    def length(self) -> int: ...


@dataclass(frozen=True)
class Evidence:
    direct: bool
    """The last pings and their answers went from router to router, and over no relay."""
    direct_at: float | None
    """When the first ping took the direct path, as `time.monotonic()` counts; None: none did."""
    summary: str


def judge(
    datagrams: Sequence[Datagram], alice: str, bob: str, relays: Collection[str], replies: Sequence[Reply]
) -> Evidence:
    """`alice` and `bob` are their public addresses, `relays` those of the overlay's nodes."""
    last = replies[-LAST:]
    there = [datagram for datagram in datagrams if (datagram.source, datagram.destination) == (alice, bob)]
    back = [datagram for datagram in datagrams if (datagram.source, datagram.destination) == (bob, alice)]
    size = _usual_size(there, last)
    if size is None:
        return Evidence(False, None, f"a capture saw no datagram from {alice} to {bob} during the last {len(last)} pings")
    carrying = [datagram for datagram in there if datagram.length == size]
    direct = [reply for reply in last if _during(reply, carrying) and _during(reply, back)]
    large = [datagram for datagram in datagrams if datagram.length >= size]
    up = [datagram for datagram in large if datagram.source == alice and datagram.destination in relays]
    down = [datagram for datagram in large if datagram.source in relays and datagram.destination == bob]
    relayed = [reply for reply in last if _during(reply, up) and _during(reply, down)]
    at = min((datagram.monotonic for reply in replies for datagram in _during(reply, carrying)), default=None)
    summary = (
        f"a capture saw {len(direct)} of the last {len(last)} pings go from {alice} to {bob} and back, "
        f"and {len(relayed)} go over an overlay node"
    )
    return Evidence(len(direct) == len(last) > 0 and not relayed, at, summary)


def _usual_size(datagrams: Iterable[Datagram], replies: Sequence[Reply]) -> int | None:
    sizes = Counter(datagram.length for reply in replies for datagram in _during(reply, datagrams))
    return sizes.most_common(1)[0][0] if sizes else None


def _during(reply: Reply, datagrams: Iterable[Datagram]) -> list[Datagram]:
    start, end = reply.sent - TOLERANCE, reply.received + TOLERANCE
    return [datagram for datagram in datagrams if start <= datagram.monotonic <= end]
