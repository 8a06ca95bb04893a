"""What was said before comes after what was said since, as on machines that have too much to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipop_modules.tincan.link.protocol.estranged import GREET_AGAIN
from ipop_modules.tincan.link.protocol.events import Endpoint, LinkDown
from ipop_modules.tincan.link.protocol.keys import REKEY_AFTER
from ipop_modules.tincan.link.protocol.wire import FINISH, FRAGMENT, FRAGMENT_HEADER, INIT, RESPONSE

from .net import Net, Peer
from .test_machine import frame, ring, trust

DELAY = 0.01


class Pair:
    """Two nodes on one network and nothing else; `b` greeted `a`."""

    def __init__(self, seed: int) -> None:
        self.net = Net(seed, DELAY)
        self.a, self.b = self.net.peer("10.0.0.1"), self.net.peer("10.0.0.2")
        self._send, self.net.send = self.net.send, self._sent  # type: ignore[method-assign]
        self.takes: Callable[[Endpoint, int], float | None] = lambda source, kind: DELAY
        """How long a datagram of this kind takes from there; None: for ever."""
        self.greetings: list[float] = []
        """When an INIT was sent."""

    def greet(self, seconds: float = 0.3) -> None:
        self.b.machine.contact(self.a.endpoint, self.a.id, self.net.now)
        self.net.run(seconds)

    def want(self) -> None:
        """Both want the link, and prove that they are members."""
        for one, other in ((self.a, self.b), (self.b, self.a)):
            one.machine.want(other.id, "near", self.net.now)
            one.machine.send_card(other.id, frame(b"first"), self.net.now)
        self.net.run(0.3)
        trust(self.a, self.b)
        trust(self.b, self.a)

    def silent(self, seconds: float) -> tuple[float, float]:
        """Both send ten times a second: for how many seconds `a` did not hear `b`, and `b` not `a`."""
        missed = {self.a.id: 0, self.b.id: 0}
        for _ in range(round(10 * seconds)):
            for one, other in ((self.a, self.b), (self.b, self.a)):
                other.card.clear()
                one.machine.send_card(other.id, frame(b"ping"), self.net.now)
            self.net.run(0.1)
            for one, other in ((self.a, self.b), (self.b, self.a)):
                missed[one.id] += not one.card
                session = one.machine.sessions.get(other.id)
                if session is not None and session.member and session.source is None:
                    trust(one, other)
        return missed[self.a.id] / 10, missed[self.b.id] / 10

    def _sent(self, source: Endpoint, target: Endpoint, data: bytes, segment: int) -> None:
        if data[0] == INIT:
            self.greetings.append(self.net.now)
        takes = self.takes(source, data[0])
        if takes is not None:
            self.net.delay = takes
            self._send(source, target, data, segment)


@pytest.mark.usefixtures("unaided")
def test_the_last_message_of_a_former_life_brings_no_keys_back() -> None:
    pair = Pair(seed=1)
    pair.takes = lambda source, kind: 3.0 if kind == FINISH else DELAY
    pair.greet(0.1)
    pair.b.restart()
    pair.takes = lambda source, kind: DELAY
    pair.net.run(0.9)
    pair.greet()
    pair.want()
    assert pair.silent(10.0) == (0, 0)


@pytest.mark.usefixtures("unaided")
def test_handshakes_that_are_not_finished_leave_the_keys_that_both_sides_have() -> None:
    pair = Pair(seed=3)
    pair.greet()
    pair.want()
    pair.takes = lambda source, kind: None if kind == FINISH else DELAY
    for _ in range(3):
        pair.greet(0.0)
        assert pair.silent(0.6) == (0, 0)
    assert pair.silent(10.0) == (0, 0)


@pytest.mark.usefixtures("unaided")
def test_keys_that_the_peer_threw_away_are_not_used_though_their_last_message_comes() -> None:
    """Its handshake crossed others, and it prefers its own or this node's: by chance, whose id is the lower one."""
    for seed in range(4):
        pair = Pair(seed)
        pair.greet()
        pair.want()
        late = 4.0
        pair.takes = lambda source, kind: late if (source, kind) == (pair.a.endpoint, FINISH) else DELAY  # noqa: B023
        pair.a.machine.contact(pair.b.endpoint, pair.b.id, pair.net.now)
        pair.net.run(0.1)
        for _ in range(3):
            pair.greet(0.6)
        assert pair.silent(late + 4.0) == (0, 0)


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_close_that_comes_after_the_next_greeting_ends_nothing(is_killed: bool) -> None:
    pair = Pair(seed=2)
    pair.greet()
    pair.want()
    pair.takes = lambda source, kind: 2.0
    pair.b.machine.close(pair.net.now)
    pair.takes = lambda source, kind: DELAY
    if is_killed:
        pair.b.restart()
    pair.net.run(0.7)
    pair.greet()
    pair.want()
    pair.a.events.clear()
    assert pair.silent(10.0) == (0, 0)
    assert pair.a.of(LinkDown) == []
    assert pair.a.machine.sessions[pair.b.id].kinds == {"near"}
    assert pair.a.machine.counters["drop_late_close"]


def test_who_is_gone_after_a_close_that_came_late_is_soon_known_to_be() -> None:
    pair = Pair(seed=9)
    pair.greet()
    pair.want()
    pair.takes = lambda source, kind: 2.0
    pair.b.machine.close(pair.net.now)
    pair.takes = lambda source, kind: DELAY
    pair.b.restart()
    pair.net.run(0.7)
    pair.greet()
    pair.net.passes = lambda source, target: source != pair.b.endpoint
    pair.net.run(6.0)
    assert pair.a.machine.counters["drop_late_close"]
    assert pair.a.of(LinkDown)


def test_a_close_is_heeded_where_there_are_older_keys_too() -> None:
    pair = Pair(seed=5)
    pair.greet()
    pair.want()
    pair.greet()
    pair.b.machine.close(pair.net.now)
    pair.net.run(0.1)
    assert pair.b.id not in pair.a.machine.sessions


def test_a_due_change_of_keys_that_is_not_answered_is_asked_for_as_often_as_any_handshake() -> None:
    pair = Pair(seed=4)
    pair.greet()
    pair.want()
    pair.silent(REKEY_AFTER - 2.0)
    pair.takes = lambda source, kind: None if kind == RESPONSE else DELAY
    pair.greetings.clear()
    woken = []
    tend = pair.b.machine._lifecycle.tend
    pair.b.machine._lifecycle.tend = lambda session, now: (woken.append(now), tend(session, now))  # type: ignore[method-assign,func-returns-value]
    pair.silent(11.0)
    assert 5 <= len(pair.greetings) <= 15
    assert len(woken) < 11 * 40
    pair.silent(14.0)
    pair.takes = lambda source, kind: DELAY
    pair.silent(8.0)
    keys = pair.a.machine.sessions[pair.b.id].keys
    assert keys is not None
    assert keys.pair.created > pair.net.now - 10


def test_a_path_that_works_one_way_alone_is_not_taken_for_alive_because_of_the_other() -> None:
    net = Net(seed=6)
    peers = ring(net, 4)
    a, b = peers[0], peers[2]
    a.machine.contact(b.endpoint, b.id, net.now)
    net.run(0.5)
    for one, other in ((a, b), (b, a)):
        one.machine.want(other.id, "shortcut", net.now)
        one.machine.send_card(other.id, frame(b"first"), net.now)
    net.run(0.5)
    trust(a, b)
    trust(b, a)
    net.passes = lambda source, target: (source, target) != (a.endpoint, b.endpoint)
    lost = []
    began = net.now
    for step in range(120):
        b.card.clear()
        for one, other in ((a, b), (b, a)):
            one.machine.send_card(other.id, frame(b"ping"), net.now)
        if step % 10 == 0:
            b.machine.probe(a.id, [a.endpoint], net.now)  # as after each rendezvous
        net.run(0.25)
        if not b.card:
            lost.append(net.now - began)
    assert max(lost) < 5.5


def forget_newest(one: Peer, other: Peer) -> None:
    """As if a node had thrown away the keys that its peer uses."""
    session = one.machine.sessions[other.id]
    assert session.keys is not None
    one.machine._blocks.refuse(session.keys)
    session.keys = session.older.pop(0)


def test_peers_that_have_lost_each_others_keys_agree_on_others() -> None:
    pair = Pair(seed=7)
    pair.greet()
    pair.want()
    pair.net.run(60.0)
    pair.greet()
    forget_newest(pair.a, pair.b)
    silent, others = pair.silent(10.0)
    assert silent <= 0.3
    assert others == 0
    assert pair.a.machine.counters["keys_lost"] == 1


def test_blocks_under_made_up_keys_cost_their_supposed_sender_a_greeting_now_and_then() -> None:
    pair = Pair(seed=8)
    pair.greet()
    pair.want()
    pair.net.run(10.0)
    pair.greetings.clear()
    block = FRAGMENT_HEADER.pack(FRAGMENT, 12345, 1, 0, 40) + bytes(40)
    for _ in range(500):
        for source in (pair.b.endpoint, ("10.0.0.9", 4741)):
            pair.a.machine.receive(memoryview(bytearray(block)), len(block), source, pair.net.now)
        pair.net.run(0.02)
    assert 1 <= len(pair.greetings) <= 1 + 10 / GREET_AGAIN
    assert pair.silent(3.0) == (0, 0)


def test_a_farewell_counts_though_handshakes_have_crossed() -> None:
    """The two sides may prefer different keys then, and go on so."""
    pair = Pair(seed=11)
    pair.a.machine.contact(pair.b.endpoint, pair.b.id, pair.net.now)
    pair.net.run(0.015)
    pair.greet()
    pair.want()
    pair.net.run(60.0)
    pair.b.machine.close(pair.net.now)
    pair.net.run(0.1)
    assert pair.b.id not in pair.a.machine.sessions
