"""A network that keeps datagrams for seconds and loses some, as a machine does that has ten times too much to do."""

from __future__ import annotations

import random
from math import sin

import pytest

from ipop_modules.tincan.link.protocol.events import Endpoint

from .net import Net, Peer
from .test_machine import frame, ring, trust

LONGEST = 8.0
"""Seconds that a datagram may take: longer than a handshake is repeated, and than its answer is kept."""
LOST = 0.1
CALM = 0.01
GRACE = 4
"""Seconds after the storm for what was given up to begin anew."""


class Storm:
    def __init__(self, seed: int) -> None:
        self.net = Net(seed)
        self.peers = ring(self.net, 4)
        self._chance = random.Random(seed)
        self._phase = self._chance.uniform(0, 6)
        self._send, self.net.send = self.net.send, self._stormy  # type: ignore[method-assign]

    def rage(self, seconds: float) -> None:
        """Everyone sends to everyone meanwhile, and tries the address that it knows."""
        end = self.net.now + seconds
        while self.net.now < end:
            one, other = self._chance.sample(self.peers, 2)
            one.machine.send_card(other.id, frame(b"in the storm"), self.net.now)
            self._run(0.1)
            if self._chance.random() < 0.2:
                other.machine.probe(one.id, [one.endpoint], self.net.now)

    def end(self) -> None:
        """What is under way still comes."""
        self.net.send = self._send  # type: ignore[method-assign]
        self.net.delay = CALM
        for peer in self.peers:
            linked = [node for node, session in peer.machine.sessions.items() if session.direct]
            peer.machine.set_routes({node: node for node in linked}, member=True)

    def silent(self) -> list[tuple[str, str]]:
        """Everyone sends to everyone, and has a second; who did not hear whom."""
        pairs = [(one, other) for one in self.peers for other in self.peers if one is not other]
        for peer in self.peers:
            peer.card.clear()
        for one, other in pairs:
            one.machine.send_card(other.id, frame(one.id), self.net.now)
        for _ in range(10):
            self._run(0.1)
        return [(one.endpoint[0], other.endpoint[0]) for one, other in pairs if not _heard(other, one)]

    def _stormy(self, source: Endpoint, target: Endpoint, data: bytes, segment: int) -> None:
        self.net.delay = self._chance.uniform(0, LONGEST * abs(sin(0.7 * self.net.now + self._phase)))
        if self._chance.random() >= LOST:
            self._send(source, target, data, segment)

    def _run(self, seconds: float) -> None:
        self.net.run(seconds)
        for peer in self.peers:
            for other in self.peers:
                session = peer.machine.sessions.get(other.id)
                if session is not None and session.member and session.source is None:
                    trust(peer, other)


def _heard(peer: Peer, other: Peer) -> bool:
    return any(body == other.id for _, _, body in peer.card)


def is_over(seed: int) -> None:
    storm = Storm(seed)
    storm.rage(40)
    storm.end()
    for _ in range(GRACE):
        storm.silent()
    assert storm.silent() == []


@pytest.mark.parametrize("seed", range(8))
def test_once_it_is_over_everyone_hears_everyone_within_seconds(seed: int) -> None:
    is_over(seed)


@pytest.mark.usefixtures("unaided")
@pytest.mark.parametrize("seed", [13, 113, 126, 214, 229, 230, 235])
def test_nobody_needs_to_greet_a_peer_anew_for_that(seed: int) -> None:
    is_over(seed)
