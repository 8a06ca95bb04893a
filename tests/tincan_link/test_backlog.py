"""What happens to packets of each kind while a socket is full, in virtual time."""

from __future__ import annotations

from collections import Counter

import pytest

from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.tincan.link.protocol import overlay
from ipop_modules.tincan.link.protocol.backlog import HELD, STUCK_AFTER, Backlog, Load, Parcel
from ipop_modules.tincan.link.protocol.events import PingAnswered

from .net import Net
from .test_arrivals import linked
from .test_hostile import give
from .test_machine import ring, trust

TICK = 0.01
BUFFER = 4 * 1024 * 1024
RATE = 5_000_000
"""Bytes a second that leave the socket."""


class Slow:
    """A socket over a slow link, used as the product uses one: parcels are tried again when half of it is free."""

    def __init__(self) -> None:
        self.backlog = Backlog()
        self.rate = RATE
        self.inside = 0
        self.now = 0.0
        self.sent: Counter[Load] = Counter()
        self.dropped: Counter[Load] = Counter()
        self.held = 0
        """The most bytes that were."""

    def send(self, load: Load, size: int) -> None:
        if not self.backlog.holds_up and self._enter(size):
            self.sent[load] += 1
            return
        if not self.backlog.add(Parcel((), bytes(size), size, load), self.now):
            self.dropped[load] += 1
        self.held = max(self.held, self.backlog._used)

    def tick(self) -> None:
        self.now += TICK
        self.inside = max(self.inside - int(self.rate * TICK), 0)
        if self.inside > BUFFER / 2:
            return
        while (parcel := self.backlog.first()) is not None:
            if not self._enter(len(parcel.data)):
                self.backlog.give_up(self.now)
                return
            self.sent[parcel.load] += 1
            self.backlog.remove()
            self.backlog.progressed(self.now)
        self.backlog.relieve()

    def _enter(self, size: int) -> bool:
        if self.inside >= BUFFER:
            return False
        self.inside += size
        return True


def test_three_floods_over_a_slow_link() -> None:
    """Ten times as much is to be forwarded as the link takes, and the card always has more, unless it is not read."""
    link = Slow()
    for _ in range(3000):
        for _ in range(8):
            link.send(Load.FORWARDED, 62_000)
            if not link.backlog.holds_up:
                link.send(Load.OWN, 62_000)
        link.send(Load.CONTROL, 100)
        link.tick()
    assert link.dropped[Load.FORWARDED] > 0
    assert link.dropped[Load.OWN] == link.dropped[Load.CONTROL] == 0
    assert link.sent[Load.CONTROL] > 2900
    assert link.sent[Load.OWN] > 0.4 * link.sent[Load.FORWARDED] > 0
    assert link.held < HELD[Load.OWN]


def test_a_stuck_socket_holds_the_card_up_for_a_while_and_no_longer() -> None:
    link = Slow()
    link.rate = 0
    while not link.backlog.holds_up:
        link.send(Load.OWN, 62_000)
    link.inside = BUFFER
    started = link.now
    while link.backlog.holds_up:
        link.now += TICK
        link.backlog.give_up(link.now)
    assert link.now - started == pytest.approx(STUCK_AFTER, abs=2 * TICK)
    assert len(link.backlog) == 0
    link.send(Load.OWN, 62_000)
    link.send(Load.CONTROL, 100)
    assert (link.dropped[Load.OWN], link.dropped[Load.CONTROL], len(link.backlog)) == (1, 0, 1)
    link.rate = RATE
    while link.backlog.is_full:
        link.tick()
    assert link.sent[Load.CONTROL] == 1
    link.inside = BUFFER
    link.send(Load.OWN, 62_000)
    assert link.backlog.holds_up, "as before it was stuck"


def test_frames_that_found_no_room_come_late_and_none_is_lost() -> None:
    net = Net(1)
    a, b = linked(net)
    b.card.clear()
    a.is_full = True
    frames = [bytes([number]) * (100 + 900 * number) for number in range(10)]
    for frame in frames:
        a.machine.send_card(b.id, FRAME_HEADER.pack(CARD, 0, 0, len(frame)) + frame, net.now)
    token = a.machine.ping(b.id, net.now)
    net.run(0.2)
    assert b.card == []
    assert not [name for name, count in a.machine.counters.items() if count and name.startswith("drop")]
    wire = len(net.sent)
    a.drain()
    sizes = [len(data) for _, source, _, data in net.sent[wire:] if source == a.endpoint]
    assert sizes[0] < 100 < min(sizes[1:]), "what keeps the link alive goes first"
    net.run(0.2)
    assert [frame for _, _, frame in b.card] == frames
    assert token in [event.token for event in a.of(PingAnswered) if isinstance(event, PingAnswered)]


def test_each_kind_has_a_bound_and_drops_are_counted_by_it() -> None:
    net = Net(2)
    peers = ring(net, 4)
    a, relay, c = peers[0], peers[1], peers[2]
    for one, other in ((a, c), (c, a), (a, relay), (relay, a)):
        one.machine.want_member(other.id, net.now)
        net.run(1)
        trust(one, other)
    run = FRAME_HEADER.pack(CARD, 0, 0, 60_000) + bytes(60_000)
    a.machine.set_routes({relay.id: relay.id, c.id: relay.id}, member=True)
    relay.is_full = True
    counters = relay.machine.counters
    for _ in range(20):
        a.machine.send_card(c.id, run, net.now)
    net.run(0.1)
    held = [parcel for parcel in relay.backlog._others if len(parcel.data) > 60_000]
    assert len(held) == HELD[Load.FORWARDED] // 62_000
    assert counters["drop_full_forwarded"] >= 20 - len(held)
    for size in (60_000, 1):
        dropped = counters["drop_full_own"]
        while counters["drop_full_own"] == dropped:
            relay.machine.send_card(a.id, FRAME_HEADER.pack(CARD, 0, 0, size) + bytes(size), net.now)
    assert HELD[Load.OWN] - 1000 < relay.backlog._used <= HELD[Load.OWN]
    assert relay.machine.send_role(a.id, "topology", b"still", net.now)
    assert relay.machine.send_routed(c.id, "topology", b"still", net.now, closest=False)
    assert not counters["drop_full_control"]
    while relay.machine.send_role(a.id, "topology", bytes(1000), net.now):
        assert relay.backlog._used <= HELD[Load.CONTROL]
    assert counters["drop_full_control"] == 1


def test_what_a_neighbour_hands_over_is_forwarded_whatever_sender_it_names() -> None:
    net = Net(3)
    peers = ring(net, 4)
    a, relay, c = peers[0], peers[1], peers[2]
    relay.is_full = True
    for content, load in ((overlay.MESSAGE, Load.FORWARDED_MESSAGE), (overlay.DATAGRAM, Load.FORWARDED)):
        relay.backlog.give_up(net.now + STUCK_AFTER)
        relay.backlog.relieve()
        for _ in range(50):
            give(a, relay, overlay.frame(overlay.Packet(c.id, relay.id, content, bytes(60_000))))
        assert sum(len(parcel.data) for parcel in relay.backlog._urgent) < 1000, "reports of loss"
        assert len(relay.backlog._others) == HELD[load] // 61_000
        assert relay.machine.counters["drop_full_" + load.value] == 50 - len(relay.backlog._others)


def test_a_sessions_own_control_frames_stay_such_where_they_go_over_a_relay() -> None:
    net = Net(4)
    peers = ring(net, 4)
    a, relay, c = peers[0], peers[1], peers[2]
    a.machine.set_routes({relay.id: relay.id, c.id: relay.id}, member=True)
    a.machine.want_member(c.id, net.now)
    net.run(1)
    assert a.machine.sessions[c.id].member and not a.machine.sessions[c.id].direct
    a.is_full = True
    a.machine.send_card(c.id, FRAME_HEADER.pack(CARD, 0, 0, 100) + bytes(100), net.now)
    a.machine.send_role(c.id, "topology", b"still", net.now)
    assert [parcel.load for parcel in (*a.backlog._urgent, *a.backlog._others)] == [Load.CONTROL, Load.OWN]


def test_other_nodes_messages_have_room_beside_own_blocks_and_other_nodes_traffic() -> None:
    backlog = Backlog()
    for load, size in ((Load.OWN, 60_000), (Load.FORWARDED, 200)):
        while backlog.add(Parcel((), bytes(size), 1200, load), 0.0):
            pass
    assert backlog._forwarded > 60_000
    assert backlog.add(Parcel((), bytes(200), 1200, Load.FORWARDED_MESSAGE), 0.0)
    while backlog.add(Parcel((), bytes(200), 1200, Load.FORWARDED_MESSAGE), 0.0):
        pass
    assert HELD[Load.FORWARDED_MESSAGE] - 1000 < backlog._forwarded <= HELD[Load.FORWARDED_MESSAGE]
    assert backlog.add(Parcel((), bytes(60_000), 1200, Load.CONTROL), 0.0)


def test_what_keeps_links_alive_is_shared_by_the_addresses_that_it_is_for() -> None:
    backlog = Backlog()
    held: Counter[int] = Counter()
    for number in range(3):
        while backlog.add(Parcel((number,), bytes(100), 1200, Load.CONTROL), 0.0):
            held[number] += 1
    assert held[0] == pytest.approx(HELD[Load.CONTROL] / 5 / 612, rel=0.01)
    assert held[2] > 0.5 * held[0]
    while backlog.first() is not None:
        backlog.remove()
    assert (backlog._used, dict(backlog._urgent_for)) == (0, {})


def test_a_block_is_held_whole_or_not_at_all() -> None:
    net = Net(5)
    a, b = linked(net)
    a.is_full = True
    frame = bytes(65_000)
    run = FRAME_HEADER.pack(CARD, 0, 0, len(frame)) + frame
    held = -1
    while held < len(a.backlog):
        held = len(a.backlog)
        a.machine.send_card(b.id, run, net.now)
    assert held == HELD[Load.OWN] // 67_000
    b.card.clear()
    a.drain()
    net.run(1)
    assert len(b.card) == held
    assert b.machine.unfinished() == (0, 0)
