"""A direct link that is up, and when to say Hello over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ipop_modules.topology.protocol.chance import Random, spread

HELLO_RETRIES: Final = (0.3, 0.7, 1.5, 3.0)
"""While the neighbour has said nothing."""
HELLO_NEAR: Final = 25.0
HELLO_OTHER: Final = 180.0


@dataclass(slots=True)
class Link:
    since: float
    initiator: bool
    """This node began it."""
    member: bool | None = None
    """Whether the neighbour is in the ring; None until it has said Hello."""
    life: int | None = None
    """The neighbour's, as in Hello."""
    unanswered: int = 0
    hello_at: float = 0.0
    near: tuple[bytes, ...] = ()
    """The neighbour's, as in Hello."""
    order: int = -1
    """The neighbour's, as in Hello."""
    long: bool = False
    """The neighbour wants it as one of its long links."""

    def said_hello(self, *, near: bool, random: Random, now: float) -> None:
        """This node has; plan the next one."""
        if self.member is None:
            delay = HELLO_RETRIES[min(self.unanswered, len(HELLO_RETRIES) - 1)]
            self.unanswered += 1
        else:
            delay = HELLO_NEAR if near else HELLO_OTHER
        self.hello_at = now + spread(random, delay)
