"""What captures say about the pings' way, without asking the nodes.

A capture on Alice's card tells when each ping entered it and when the answer left it. All that IPOP sends outside is
encrypted, so what carries a ping there is told by time and size. Between these two moments (a millisecond or so apart)
a datagram from Alice's router to Bob's carries the ping if it has the size that is usual in these intervals of the last
pings; probes and housekeeping have other sizes and other times. A ping went over a relay if in its interval a datagram
at least as large (a relayed packet is the same one with another header around it) left Alice's router for an overlay
node, and one from an overlay node came to Bob's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from ipop_core.lab import Packet

LAST: Final = 5
"""So many of the last pings are looked at to say how pings travel in the end."""
TOLERANCE: Final = 0.0002
"""Seconds by which the clocks of two captures may differ."""

_ICMP: Final = 1
_ECHO_REQUEST: Final = 8
_ECHO_REPLY: Final = 0
_ECHO: Final = Struct("!BBHHH")


@dataclass(frozen=True)
class Exchange:
    """One ping on Alice's card, in seconds as `time.monotonic()` counts."""

    sequence: int
    entered: float
    answered: float


@dataclass(frozen=True)
class Evidence:
    direct: bool
    """The last pings and their answers went from router to router, and over no relay."""
    summary: str
    direct_from: int | None = None
    """The sequence number of the first ping that took the direct path, None when none did."""
    direct_at: float | None = None
    """When it did, as `time.monotonic()` counts."""
    canary_on_card: int | None = None
    """Packets with the pings' secret payload on Alice's card; None where there is nothing to capture on."""
    canary_on_public: int | None = None
    """The same on the public segment, where nobody may be able to read it."""


def exchanges(packets: Iterable[Packet]) -> list[Exchange]:
    """The answered pings among the packets of a card, in order."""
    entered: dict[int, float] = {}
    answered: dict[int, float] = {}
    for packet in packets:
        if packet.protocol != _ICMP or len(packet.payload) < _ECHO.size:
            continue
        kind, _, _, _, sequence = _ECHO.unpack_from(packet.payload)
        if kind == _ECHO_REQUEST:
            entered.setdefault(sequence, packet.monotonic)
        elif kind == _ECHO_REPLY:
            answered.setdefault(sequence, packet.monotonic)
    return [Exchange(number, entered[number], answered[number]) for number in sorted(entered) if number in answered]


def judge(
    datagrams: Sequence[Packet], alice: str, bob: str, relays: Collection[str], pings: Sequence[Exchange]
) -> Evidence:
    """`alice` and `bob` are their public addresses, `relays` those of the overlay's nodes."""
    if not pings:
        return Evidence(False, "A capture on Alice's card saw no ping that was answered.")
    last = pings[-LAST:]
    there = [datagram for datagram in datagrams if (datagram.source, datagram.destination) == (alice, bob)]
    size = _usual_size(there, last)
    if size is None:
        return Evidence(False, f"A capture saw nothing go from {alice} to {bob} during the last {len(last)} pings.")
    there = [datagram for datagram in there if datagram.length == size]
    large = [datagram for datagram in datagrams if datagram.length >= size]
    back = [datagram for datagram in large if (datagram.source, datagram.destination) == (bob, alice)]
    up = [datagram for datagram in large if datagram.source == alice and datagram.destination in relays]
    down = [datagram for datagram in large if datagram.source in relays and datagram.destination == bob]
    direct = [ping for ping in last if _during(ping, there) and _during(ping, back)]
    relayed = [ping for ping in last if _during(ping, up) and _during(ping, down)]
    first = next((ping for ping in pings if _during(ping, there)), None)
    summary = (
        f"A capture of the public segment saw {len(direct)} of the last {len(last)} pings go from {alice} to {bob} "
        f"and back, and {len(relayed)} of them over an overlay node."
    )
    return Evidence(
        direct=len(direct) == len(last) and not relayed,
        summary=summary,
        direct_from=first.sequence if first else None,
        direct_at=_during(first, there)[0].monotonic if first else None,
    )


def _usual_size(datagrams: Iterable[Packet], pings: Iterable[Exchange]) -> int | None:
    sizes = Counter(datagram.length for ping in pings for datagram in _during(ping, datagrams))
    return sizes.most_common(1)[0][0] if sizes else None


def _during(ping: Exchange, datagrams: Iterable[Packet]) -> list[Packet]:
    start, end = ping.entered - TOLERANCE, ping.answered + TOLERANCE
    return [datagram for datagram in datagrams if start <= datagram.monotonic <= end]
