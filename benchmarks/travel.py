"""Which way pings went, by a capture of the public segment that knows nothing of what the nodes say.

The pings have a size that nothing else on the segment has, so that a datagram between the two routers of that size and
a little more is a ping on the direct path, and one between a router and an overlay node is a ping on its way over a
relay, whatever is sealed in it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from ipop_core.lab import Packet

PAYLOAD: Final = 700
_INNER: Final = PAYLOAD + 8 + 20
_LEAST: Final = _INNER + 28 + 16
"""With the outer IP and UDP headers and a seal."""
_MOST: Final = _INNER + 250
"""With the headers of a relayed packet, which is sealed twice, and a small frame that happened to share its block."""


@dataclass(frozen=True)
class Travel:
    """Moments are seconds as `time.monotonic()` counts, None when it never was."""

    direct_at: float | None
    """The first ping, or answer, that went straight from one home to the other."""
    relayed: int
    """Pings and answers that went from a home to an overlay node."""
    relayed_after: int
    """Of these, those after half of all datagrams had gone: once direct, it should be none."""
    direct_last: bool
    """The last of all went straight."""
    between: int
    """All datagrams from home to home, probes and all, whatever their size."""
    until_direct: int
    """Of these, those before `direct_at`; all, where it never was."""


def follow(datagrams: Sequence[Packet], alice: str, bob: str, relays: Collection[str]) -> Travel:
    """`alice` and `bob` are the addresses that the world sees, `relays` those of the overlay's nodes."""
    homes = {alice, bob}
    pings = [datagram for datagram in datagrams if _LEAST <= datagram.length <= _MOST]
    straight = [ping for ping in pings if {ping.source, ping.destination} == homes]
    relayed = [ping for ping in pings if ping.source in homes and ping.destination in relays]
    last = max((*straight, *relayed), key=lambda ping: ping.monotonic, default=None)
    middle = (pings[0].monotonic + pings[-1].monotonic) / 2 if pings else 0.0
    between = [datagram for datagram in datagrams if {datagram.source, datagram.destination} == homes]
    return Travel(
        direct_at=straight[0].monotonic if straight else None,
        relayed=len(relayed),
        relayed_after=sum(ping.monotonic > middle for ping in relayed),
        direct_last=last is not None and last in straight,
        between=len(between),
        until_direct=sum(not straight or datagram.monotonic < straight[0].monotonic for datagram in between),
    )
