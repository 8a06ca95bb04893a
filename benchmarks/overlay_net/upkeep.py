"""What links cost besides messages: acknowledgements and keepalives, as the link machines send them (`full.py`).

A message that nothing goes back for within a quarter of a second is acknowledged, and a link that has been silent for
KEEPALIVE seconds is probed. Both follow from the times of the messages, so nothing has to be sent here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ipop_modules.tincan.link.protocol.path import KEEPALIVE
from ipop_modules.tincan.link.protocol.session import ACKNOWLEDGE_AFTER

ACKNOWLEDGEMENT_BYTES: Final = 79
PROBE_BYTES: Final = 187
"""A probe and its answer."""

Pair: TypeAlias = tuple[bytes, bytes]


@dataclass(slots=True)
class _Link:
    heard: float
    """When something last went over it, either way."""
    owed: dict[bytes, float] = field(default_factory=dict)
    """Who has not answered yet, and since when."""


class Upkeep:
    """All links of a network; times are virtual."""

    def __init__(self) -> None:
        self._links: dict[Pair, _Link] = {}
        self.acknowledgements = 0
        self.probes = 0

    @property
    def size(self) -> int:
        """Bytes so far."""
        return ACKNOWLEDGEMENT_BYTES * self.acknowledgements + PROBE_BYTES * self.probes

    def made(self, one: bytes, other: bytes, now: float) -> None:
        self._links.setdefault(_pair(one, other), _Link(now))

    def closed(self, one: bytes, other: bytes, now: float) -> None:
        link = self._links.pop(_pair(one, other), None)
        if link is not None:
            self._catch_up(link, now)

    def message(self, source: bytes, target: bytes, now: float) -> None:
        link = self._links.get(_pair(source, target))
        if link is not None:
            self._catch_up(link, now)
            link.owed.pop(source, None)
            link.owed.setdefault(target, now)
            link.heard = now

    def catch_up(self, now: float) -> None:
        """Count what links have cost until now."""
        for link in self._links.values():
            self._catch_up(link, now)

    def _catch_up(self, link: _Link, now: float) -> None:
        if link.owed:
            for node, since in list(link.owed.items()):
                if since + ACKNOWLEDGE_AFTER <= now:
                    del link.owed[node]
                    self.acknowledgements += 1
                    link.heard = max(link.heard, since + ACKNOWLEDGE_AFTER)
        if now - link.heard >= KEEPALIVE:
            probes = int((now - link.heard) // KEEPALIVE)
            self.probes += probes
            link.heard += probes * KEEPALIVE


def _pair(one: bytes, other: bytes) -> Pair:
    return (one, other) if one < other else (other, one)
