"""A direct link that is up, and when to say Hello over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ipop_modules.topology.protocol.chance import Random, spread
from ipop_modules.topology.protocol.messages import Hello

HELLO_RETRIES: Final = (0.3, 0.7, 1.5, 3.0)
"""While the neighbour has said nothing."""
HELLO_NEAR: Final = (10.0, 20.0, 40.0, 80.0)
"""The more often the same was said the longer."""
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
    said: tuple[object, ...] = ()
    """What this node said last."""
    repeated: int = 0
    """How often it has said just that again."""
    near: tuple[bytes, ...] = ()
    """The neighbour's, as in Hello."""
    order: int = -1
    """The neighbour's, as in Hello."""
    long: bool = False
    """The neighbour wants it as one of its long links."""
    introduced: bool = False
    """The neighbour has named others, or this node has to it."""
    long_since: float = 0.0
    """When that began, in seconds."""

    def said_hello(self, hello: Hello, *, near: bool, random: Random, now: float) -> None:
        """This node has said it; plan the next one."""
        said = (hello.member, hello.near, hello.long, hello.list_mark)
        self.repeated = self.repeated + 1 if said == self.said else 0
        self.said = said
        if self.member is None:
            delay = HELLO_RETRIES[min(self.unanswered, len(HELLO_RETRIES) - 1)]
            self.unanswered += 1
        else:
            delay = HELLO_NEAR[min(self.repeated, len(HELLO_NEAR) - 1)] if near else HELLO_OTHER
        self.hello_at = now + spread(random, delay)
