"""A peer that stops says so to everyone, and one that is back again is talked to at once."""

from __future__ import annotations

import pytest

from .net import Net
from .test_machine import frame, ring, trust


def test_who_stops_tells_those_over_the_overlay_too_whoever_it_met_first() -> None:
    net = Net(seed=23)
    peers = ring(net, 6)
    a, z = peers[0], peers[3]
    a.machine.ping(z.id, net.now)
    net.run(1)
    assert not a.machine.sessions[z.id].direct
    z.machine.close(net.now)
    net.run(0.5)
    assert not [peer.endpoint for peer in peers if z.id in peer.machine.sessions]


class Away:
    """A node has greeted one that is not next to it in the ring, and that is away."""

    def __init__(self) -> None:
        self.net = Net(seed=22)
        self.a, self.b, self.c, self.d = ring(self.net, 4)
        self.net.passes = lambda source, target: self.c.endpoint not in (source, target)
        self.a.machine.connect(self.c.id, "near", None, self.net.now)
        self.begun = self.net.now

    def until(self, seconds: float) -> None:
        """After the greeting."""
        self.net.run(self.begun + seconds - self.net.now)

    def come_back(self) -> None:
        """Another process, which makes its links again; it takes half a second."""
        self.net.passes = lambda source, target: True
        self.c.restart()
        for neighbour in (self.b, self.d):
            neighbour.machine.set_routes({}, member=True)
            self.c.machine.contact(neighbour.endpoint, neighbour.id, self.net.now)
        self.net.run(0.5)
        for neighbour in (self.b, self.d):
            neighbour.machine.set_routes({node: node for node in neighbour.machine.sessions}, member=True)
        self.c.machine.set_routes({node.id: node.id for node in (self.b, self.d)}, member=True)

    def send(self, *texts: bytes) -> None:
        for text in texts:
            self.a.machine.send_card(self.c.id, frame(text), self.net.now)
            self.net.run(0.1)

    def came(self) -> list[bytes]:
        if self.a.id in self.c.machine.sessions:
            trust(self.c, self.a)
        return [data for _, _, data in self.c.card]


@pytest.mark.parametrize("after", [0.6, 1.0, 2.5, 4.0, 5.2])
def test_no_frame_is_lost_or_late_once_the_peer_is_back_however_long_it_was_greeted_in_vain(after: float) -> None:
    """The repetitions of a handshake come ever later; the last one is over after 5.25 s."""
    away = Away()
    away.until(after - 0.5)
    away.come_back()
    away.send(b"0", b"1", b"2")
    away.net.run(0.1)
    assert away.came() == [b"0", b"1", b"2"]


def test_frames_that_came_while_a_handshake_failed_are_sent_if_the_peer_is_back_soon() -> None:
    away = Away()
    away.until(5.0)
    away.send(b"0", b"1")
    away.until(5.5)
    away.come_back()
    away.net.run(1.0)
    assert away.came() == [b"0", b"1"]


def test_whatever_there_is_to_send_a_peer_that_is_away_is_greeted_four_times_a_second() -> None:
    net = Net(seed=24)
    peers = ring(net, 4)
    a, c = peers[0], peers[2]
    net.passes = lambda source, target: c.endpoint not in (source, target)
    a.machine.send_card(c.id, frame(b"first"), net.now)
    net.run(2)
    began = len(net.sent)
    for _ in range(200):
        a.machine.send_card(c.id, frame(b"more"), net.now)
        net.run(0.01)
    greeted = [data for _, source, _, data in net.sent[began:] if source == a.endpoint and len(data) > 100]
    assert 8 <= len(greeted) <= 12
