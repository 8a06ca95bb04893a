"""For authors of modules: virtual time, and a network of datagrams in it. A run is the same for the same seed.

world = World(seed=1, latency=0.05, loss=0.01)
world.attach(("198.51.100.1", 4741), receive)       # receive(data, segment, source)
world.nats.put("10.0.0.7", SimulatedNat(NatKind.SYMMETRIC, "203.0.113.7", world.chance))
world.send(source, target, data, segment)
world.run(seconds=10.0)
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Collection, Hashable
from itertools import count
from typing import TypeAlias, TypeVarTuple

from ipop_core.simulated_nat import Nats

Endpoint: TypeAlias = tuple[str, int]
Receive: TypeAlias = Callable[[bytes, int, Endpoint], None]
"""Takes (data, size of the datagrams that it holds, where it came from)."""
Arguments = TypeVarTuple("Arguments")


class VirtualTime:
    """What will happen, in order of its times; of the same time in the order in which it was planned."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._order = count()
        self._planned: list[tuple[float, int, Callable[..., object], tuple[object, ...]]] = []

    def after(self, delay: float, action: Callable[[*Arguments], object], *arguments: *Arguments) -> None:
        """Call `action` with these arguments when so many seconds have passed, or at once where they are none."""
        heapq.heappush(self._planned, (self.now + max(0.0, delay), next(self._order), action, arguments))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while self._planned and self._planned[0][0] <= end:
            self.now, _, action, arguments = heapq.heappop(self._planned)
            action(*arguments)
        self.now = end

    def run_until(self, done: Callable[[], bool], limit: float, step: float = 0.05) -> float:
        """The seconds until `done`, which is asked every `step` seconds. Raises TimeoutError after `limit`."""
        start = self.now
        while not done():
            if self.now >= start + limit:
                raise TimeoutError(f"not within {limit:g} s of virtual time")
            self.run(step)
        return self.now - start


class Weather:
    """What the network does to what is sent: one-way latency in seconds, with up to half as much again at random."""

    def __init__(self, chance: random.Random, latency: float, loss: float) -> None:
        self.latency = latency
        self.loss = loss
        self._chance = chance
        self._island: dict[Hashable, int] = {}

    def split(self, *islands: Collection[Hashable]) -> None:
        """From now on nothing passes between these sets; who is in none of them reaches everyone.

        In a `World` they are sets of hosts, by their own addresses: wherever a host is, behind whichever router.
        """
        self._island = {place: number for number, places in enumerate(islands) for place in places}

    def mend(self) -> None:
        self._island.clear()

    def delay(self) -> float:
        return self.latency * (1.0 + 0.5 * self._chance.random())

    def reaches(self, source: Hashable, target: Hashable) -> bool:
        """Whether the two are on one island."""
        one, other = self._island.get(source), self._island.get(target)
        return one is None or other is None or one == other

    def passes(self, source: Hashable, target: Hashable) -> bool:
        """Whether what is sent now arrives."""
        if self._island and not self.reaches(source, target):
            return False
        return self.loss <= 0.0 or self._chance.random() >= self.loss


class World(VirtualTime):
    """A network that carries datagrams between endpoints, with loss, latency, partitions and NATs."""

    def __init__(self, seed: int, *, latency: float = 0.02, loss: float = 0.0, now: float = 0.0) -> None:
        super().__init__(now)
        self.chance = random.Random(seed)
        self.weather = Weather(self.chance, latency, loss)
        self.nats = Nats()
        """Who is behind which router: nobody, until somebody is put there."""
        self.bytes_sent = 0
        self.datagrams_sent = 0
        self._receivers: dict[Endpoint, Receive] = {}
        self._last: dict[tuple[Endpoint, Endpoint], float] = {}
        """When what was sent last on a way arrives."""

    def attach(self, endpoint: Endpoint, receive: Receive) -> None:
        self._receivers[endpoint] = receive

    def detach(self, endpoint: Endpoint) -> None:
        """As when a computer is switched off: what is sent there is lost."""
        self._receivers.pop(endpoint, None)

    def send(self, source: Endpoint, target: Endpoint, data: bytes, segment: int) -> None:
        """Send `data` as datagrams of `segment` bytes, the last one at most that. They are lost together.

        `source` is the sender's own address; the receiver is told the one that it sees.
        """
        self.bytes_sent += len(data)
        self.datagrams_sent += -(-len(data) // segment)
        seen = self.nats.leave(source, target, self.now)
        holder = self.nats.holder(target)
        if self.weather.passes(source[0], None if holder is None else holder[0]):
            # Delays vary, but datagrams of one way don't overtake each other: real ones seldom do.
            arrival = max(self.now + self.weather.delay(), self._last.get((source, target), 0.0))
            self._last[source, target] = arrival
            self.after(arrival - self.now, self._come, seen, target, data, segment)

    def _come(self, source: Endpoint, target: Endpoint, data: bytes, segment: int) -> None:
        inner = self.nats.arrive(source, target, self.now)
        receive = None if inner is None else self._receivers.get(inner)
        if receive is not None:
            receive(data, segment, source)
