"""Two members behind boxes and a relay between them, in virtual time; `signal` is played by hand."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from ipaddress import ip_address

from ipop_modules.tincan.link.protocol.events import Endpoint, Observed
from ipop_modules.tincan.link.protocol.mapping import Observations
from tests.nat.boxes import World
from tests.tincan_link.net import Net, Peer


class Anything:
    def refusal(self, frame: memoryview) -> str:
        return ""


class Member(Peer):
    """A machine that may open further sockets, and knows what its peers see."""

    def __init__(self, net: Streets, host: str) -> None:
        super().__init__(net, host, ["192.168.10.1"], net.namespace)
        self.observations = Observations()
        self.opened = 0

    def branch(self, endpoint: Endpoint, count: int) -> Sequence[Endpoint]:
        self.opened += count
        return [(*endpoint[:2], number) for number in range(self.opened - count + 1, self.opened + 1)]

    def observe(self, now: float) -> None:
        for event in self.of(Observed):
            if len(event.endpoint) == 2:
                self.observations.add(self.address(event.endpoint), (event.ip, event.port), now)

    @property
    def outer(self) -> Endpoint:
        nat = self.observations.nat(4, {ip_address(self.endpoint[0]).packed}, self.endpoint[1], self.net.now)
        assert nat.outer is not None
        return str(ip_address(nat.outer[0])), nat.outer[1]


class Streets(Net):
    """A net in which packets go through boxes."""

    def __init__(self, seed: int, delay: float = 0.02) -> None:
        super().__init__(seed, delay)
        self.world = World()
        self.namespace = Peer.__init__.__defaults__ and None
        self.arrived: list[tuple[float, Endpoint, Endpoint]] = []

    def send(self, source: Endpoint, target: Endpoint, data: bytes, segment: int) -> None:
        self.sent.append((self.now, source, target, data))
        if not self.passes(source, target):
            return
        way = self.world.leave(source, target, self.now)
        heapq.heappush(self._queue, (self.now + self.delay, len(self.sent), way, target, data, segment))
