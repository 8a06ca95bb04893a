"""Nodes in the same network: who announced itself, and which of them to link to.

A node announces itself while no bootstrap answers it; the others only listen. A few links are enough, as with
bootstraps: they lead to the ring. What announces itself is a stranger until the link's
handshake has proved its id, and a flood of announcements makes no more than a trial a second.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final, TypeAlias

from ipop_core.token_bucket import TokenBucket
from ipop_modules.signal.protocol.backoff import backoff

KIND: Final = "lan"
LINKS_WANTED: Final = 3
MOST_KNOWN: Final = 64
ANNOUNCE_EVERY: Final = 10.0
BOOTSTRAPS_FIRST: Final = 3.0
"""Seconds that bootstraps are given to answer before the first announcement."""
ANSWER_AFTER: Final = 0.2
"""Seconds until a newcomer is greeted by an announcement of this node's own."""
TRIAL_RATE: Final = 1.0
TRIAL_BURST: Final = 4.0


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the network of this node."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect to this node, then tell `connected` or `failed`."""

    node: str
    endpoint: str


Effect: TypeAlias = Announce | Dial


@dataclass(slots=True)
class Found:
    endpoint: str
    state: str = "waiting"
    """`waiting`, `connecting` or `connected`."""
    failures: int = 0
    not_before: float = 0.0


class Discovery:
    """Nodes are 40 hexadecimal digits; times are seconds on one clock."""

    def __init__(self, own_node: str, now: float, *, has_bootstraps: bool) -> None:
        self._own_node = own_node
        self._found: OrderedDict[str, Found] = OrderedDict()
        self._announce_at = now + BOOTSTRAPS_FIRST if has_bootstraps else now
        self._trials = TokenBucket(TRIAL_RATE, TRIAL_BURST, now)
        self.counters: Counter[str] = Counter()

    @property
    def linked(self) -> list[str]:
        return [node for node, found in self._found.items() if found.state == "connected"]

    def heard(self, node: str, endpoint: str, now: float) -> list[Effect]:
        """A node announced itself."""
        if node == self._own_node:
            return []
        found = self._found.pop(node, None)
        if found is None:
            self.counters["lan_found"] += 1
            found = Found(endpoint)
            self._announce_at = min(self._announce_at, now + ANSWER_AFTER)
        self._found[node] = found
        if found.state == "waiting":
            found.endpoint = endpoint
        self._forget_one()
        busy = sum(other.state != "waiting" for other in self._found.values())
        if found.state != "waiting" or now < found.not_before or busy >= LINKS_WANTED:
            return []
        if not self._trials.take(now):
            self.counters["lan_rate_limited"] += 1
            return []
        found.state = "connecting"
        return [Dial(node, endpoint)]

    def connected(self, node: str) -> None:
        found = self._found.get(node)
        if found is not None:
            found.state, found.failures = "connected", 0

    def failed(self, node: str, now: float, random: float) -> None:
        """It did not answer, or was another; `random` is a number in [0, 1)."""
        found = self._found.get(node)
        if found is not None:
            found.failures += 1
            found.state, found.not_before = "waiting", now + backoff(found.failures, random)

    def link_down(self, node: str) -> None:
        found = self._found.get(node)
        if found is not None and found.state == "connected":
            found.state = "waiting"

    def wake(self, now: float, *, alone: bool) -> list[Effect]:
        """`alone`: no bootstrap has a link with this node."""
        if now < self._announce_at:
            return []
        self._announce_at = now + ANNOUNCE_EVERY
        return [Announce()] if alone else []

    def next_wake(self) -> float:
        return self._announce_at

    def _forget_one(self) -> None:
        if len(self._found) > MOST_KNOWN:
            idle = next((node for node, found in self._found.items() if found.state == "waiting"), None)
            if idle is not None:
                del self._found[idle]
