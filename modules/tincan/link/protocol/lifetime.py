"""For how long the NAT in front of this node keeps an idle mapping, as far as is known, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .path import KEEPALIVE, SHORTEST_KEEPALIVE

SAFETY: Final = 0.8


@dataclass(slots=True)
class Lifetime:
    """What is known: at least and at most so many seconds."""

    at_least: float | None = None
    at_most: float | None = None

    @property
    def keepalive(self) -> float:
        """How often an idle path must carry something, at the least often."""
        if self.at_most is None or (self.at_least or 0.0) * SAFETY >= KEEPALIVE:
            return KEEPALIVE
        return max(SHORTEST_KEEPALIVE, SAFETY * (self.at_least or 0.0))
