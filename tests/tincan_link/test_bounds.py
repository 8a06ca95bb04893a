"""What waits, what is held and how many sessions there are is bounded; a failure ends only what it belongs to."""

from __future__ import annotations

import pytest

from ipop_modules.tincan.link.protocol import holding, lifecycle
from ipop_modules.tincan.link.protocol.events import ConnectFailed, SessionClosed, SessionUp
from ipop_modules.tincan.link.protocol.holding import MAX_HELD, MAX_HOLD, Held, Room
from ipop_modules.tincan.link.protocol.waiting import MAX_WAIT, MAX_WAITING, MAX_WAITING_BYTES, Waiting

from .net import Net
from .test_machine import frame, link, ring, trust


def test_card_frames_that_waited_too_long_are_dropped_and_newer_ones_are_sent() -> None:
    net = Net(20)
    peers = ring(net, 6)
    a, z = peers[0], peers[3]
    net.passes = lambda source, target: target != z.endpoint
    a.machine.send_card(z.id, frame(b"late"), net.now)
    net.run(MAX_WAIT - 1)
    a.machine.send_card(z.id, frame(b"in time"), net.now)
    net.run(0.9)
    assert a.machine.counters["drop_waiting_late"] == 0
    net.run(0.2)
    assert a.machine.counters["drop_waiting_late"] == 1
    net.passes = lambda source, target: True
    net.run(0.8)
    trust(z, a)
    assert [text for _, _, text in z.card] == [b"in time"]


def test_frames_for_a_peer_that_proves_nothing_do_not_wait_for_ever() -> None:
    net = Net(21)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2", namespace=None)
    link(net, a, b)
    for _ in range(3):
        a.machine.send_card(b.id, frame(b"one"), net.now)
    net.run(MAX_WAIT + 0.1)
    assert a.machine.counters["drop_waiting_late"] == 3
    assert not a.machine.sessions[b.id].waiting


def test_waiting_is_bounded_in_runs_and_bytes() -> None:
    waiting = Waiting()
    assert all(waiting.add(b"x", 0.0) for _ in range(MAX_WAITING))
    assert not waiting.add(b"x", 0.0)
    assert waiting.expire(MAX_WAIT - 0.01) == 0
    assert waiting.expire(MAX_WAIT) == MAX_WAITING
    assert waiting.add(bytes(MAX_WAITING_BYTES), 5.0)
    assert not waiting.add(b"x", 5.0)
    assert waiting.next_deadline == 5.0 + MAX_WAIT
    assert len(waiting.pop()) == MAX_WAITING_BYTES
    assert waiting.add(b"x", 5.0)


def test_the_newest_frames_are_held_until_the_address_is_confirmed() -> None:
    net = Net(22)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, a, b)
    a.machine.want_member(b.id, net.now)
    net.run(0.5)
    for number in range(MAX_HELD + 5):
        a.machine.send_card(b.id, frame(b"%d" % number), net.now)
    net.run(0.5)
    assert b.machine.counters["drop_held_full"] == 5
    trust(b, a)
    assert [text for _, _, text in b.card] == [b"%d" % number for number in range(5, MAX_HELD + 5)]


def test_what_is_held_is_bounded_in_bytes_and_time() -> None:
    net = Net(26)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, a, b)
    a.machine.want_member(b.id, net.now)
    net.run(0.5)
    for _ in range(4):
        a.machine.send_card(b.id, frame(bytes(30_000)), net.now)
    net.run(0.1)
    session, room = b.machine.sessions[a.id], b.machine._state.room
    assert (len(session.held), room.used) == (2, 60_000)
    assert b.machine.counters["drop_held_full"] == 2
    net.run(MAX_HOLD)
    assert (len(session.held), room.used) == (0, 0)
    assert b.machine.counters["drop_held_late"] == 2
    trust(b, a)
    assert not b.card
    b.machine.sessions[a.id].source = None
    a.machine.send_card(b.id, frame(bytes(30_000)), net.now)
    net.run(0.1)
    assert room.used == 30_000
    a.machine.close(net.now)
    net.run(0.1)
    assert not b.machine.sessions
    assert room.used == 0


def test_what_all_sessions_hold_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "MAX_NODE_BYTES", 100_000)
    room = Room()
    one, other = Held(room), Held(room)
    assert [one.add((0, 0, bytes(30_000)), 0.0) for _ in range(3)] == [0, 0, 1]
    assert [other.add((0, 0, bytes(30_000)), 1.0) for _ in range(3)] == [0, 1, 1]
    assert other.add((0, 0, bytes(50_000)), 1.0) == 1, "it would take what is another's"
    assert room.used == 90_000
    assert one.expire(MAX_HOLD) == 2
    assert [other.add((0, 0, bytes(30_000)), 1.0) for _ in range(2)] == [0, 1]
    assert len(other.take()) == 2
    assert room.used == 0


def test_strangers_make_no_more_sessions_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "MAX_SESSIONS", 2)
    net = Net(23)
    a, *others = (net.peer(f"10.0.0.{i + 1}") for i in range(5))
    for stranger in others[:3]:
        stranger.machine.contact(a.endpoint, None, net.now)
        net.run(1)
    assert set(a.machine.sessions) == {others[0].id, others[1].id}
    assert a.machine.counters["refused_too_many_sessions"] == 1
    others[1].machine.contact(a.endpoint, None, net.now)
    net.run(1)
    assert a.machine.counters["refused_too_many_sessions"] == 1, "who is known may change keys"
    a.machine.contact(others[3].endpoint, None, net.now)
    net.run(1)
    assert a.machine.sessions[others[3].id].direct, "an own wish is no stranger's"


def test_a_contact_that_fails_leaves_a_session_that_another_handshake_makes() -> None:
    net = Net(24)
    peers = ring(net, 6)
    a, z = peers[0], peers[3]
    a.machine.contact(("10.9.9.9", 1), z.id, net.now)
    net.run(3)
    net.passes = lambda source, target: target != z.endpoint
    a.machine.connect(z.id, "near", None, net.now)
    net.run(2.5)
    assert [event.endpoint for event in a.of(ConnectFailed)] == [("10.9.9.9", 1)]
    assert not a.of(SessionClosed)
    net.passes = lambda source, target: True
    net.run(2)
    assert z.id in [event.node for event in a.of(SessionUp)]
    assert a.machine.sessions[z.id].kinds == {"near"}


def test_the_last_handshake_that_fails_ends_the_session() -> None:
    net = Net(25)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    net.passes = lambda source, target: False
    a.machine.want(b.id, "near", net.now)
    a.machine.contact(b.endpoint, b.id, net.now)
    net.run(10)
    assert [event.node for event in a.of(SessionClosed)] == [b.id]
    assert not a.machine.sessions
