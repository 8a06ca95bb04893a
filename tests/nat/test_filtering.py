"""What a node finds out about the router in front of it, in virtual time, with peers in the place of servers."""

from __future__ import annotations

import random

import pytest

from ipop_core.lab.nat import NatKind
from ipop_core.simulated_nat import SimulatedNat
from ipop_modules.tincan.link.protocol import control
from ipop_modules.tincan.link.protocol.ending import end_session
from ipop_modules.tincan.link.protocol.events import FilteringKnown
from ipop_modules.tincan.link.protocol.filtering import Filtering
from ipop_modules.tincan.link.protocol.lifetime import Lifetime
from ipop_modules.tincan.link.protocol.unasked import BURST
from tests.nat.streets import Member, Pair

KINDS = [
    (NatKind.OPEN, Filtering.INDEPENDENT),
    (NatKind.FULL_CONE, Filtering.INDEPENDENT),
    (NatKind.ADDRESS_RESTRICTED, Filtering.ADDRESS_DEPENDENT),
    (NatKind.PORT_RESTRICTED, Filtering.DEPENDENT),
    (NatKind.SYMMETRIC, Filtering.DEPENDENT),
    (NatKind.SEQUENTIAL, Filtering.DEPENDENT),
]


class Neighbourhood(Pair):
    """A pair, and a node in the ring that neither has ever sent anything to."""

    def __init__(self, place: NatKind | SimulatedNat) -> None:
        super().__init__(place, NatKind.OPEN, seed=1)
        self.stranger = self.net.bare(99)
        for relay in self.relays:
            self.stranger.machine.contact(relay.endpoint, relay.id, self.net.now)
            self.net.run(0.3)
            self.stranger.machine.want(relay.id, "near", self.net.now)
        ring = [*self.relays, self.stranger]
        for node in ring:
            known = [(other, other) for other in node.machine.sessions]
            node.machine.set_routes(known, member=True)
        self.a.nat()

    def test(self) -> Filtering:
        machine = self.a.machine
        machine.filtering.begin(self.a.nat().outer, [self.stranger.id], self.net.now)
        self.net.run(4)
        assert len(self.a.of(FilteringKnown)) == 1
        return machine.filtering.filtering


@pytest.mark.parametrize(("kind", "filtering"), KINDS)
def test_each_kind_of_filter_is_told_and_no_path_comes_of_it(kind: NatKind, filtering: Filtering) -> None:
    town = Neighbourhood(kind)
    paths = {node: len(list(session.paths)) for node, session in town.a.machine.sessions.items()}
    assert town.test() is filtering
    for node, session in town.a.machine.sessions.items():
        assert len(list(session.paths)) == paths.get(node, 0)


def test_without_a_stranger_the_looser_kinds_are_not_told_apart() -> None:
    town = Neighbourhood(NatKind.FULL_CONE)
    town.a.machine.filtering.begin(town.a.nat().outer, [], town.net.now)
    town.net.run(4)
    assert town.a.machine.filtering.filtering is Filtering.UNKNOWN


def test_whom_an_earlier_life_of_the_node_sent_to_proves_nothing() -> None:
    town = Neighbourhood(NatKind.PORT_RESTRICTED)
    town.net.send(town.a.endpoint, town.stranger.endpoint, b"of an earlier life", 18)
    town.net.run(0.5)
    assert town.test() is Filtering.DEPENDENT


def test_a_node_whose_session_is_over_is_no_stranger() -> None:
    town = Neighbourhood(NatKind.ADDRESS_RESTRICTED)
    machine, net = town.a.machine, town.net
    machine.contact(town.stranger.endpoint, town.stranger.id, net.now)
    net.run(0.5)
    for one, other in ((town.a, town.stranger), (town.stranger, town.a)):
        end_session(one.machine._state, one.machine._blocks, one.machine.sessions[other.id], "over")
    assert town.test() is Filtering.UNKNOWN


def test_a_peer_that_would_not_send_teaches_nothing() -> None:
    town = Neighbourhood(NatKind.PORT_RESTRICTED)
    for node in (*town.relays, town.b, town.stranger):
        node.machine._unasked.asked = lambda *_: None
    assert town.test() is Filtering.UNKNOWN


@pytest.mark.parametrize("hairpin", [True, False])
def test_hairpin_is_found_where_it_is(hairpin: bool) -> None:
    router = SimulatedNat(NatKind.FULL_CONE, "203.0.113.10", random.Random(1), hairpin=hairpin)
    town = Neighbourhood(router)
    town.test()
    assert town.a.machine.filtering.hairpin is hairpin


@pytest.mark.parametrize(
    ("lifetime", "least", "most", "keepalive"),
    [(8.0, None, 9.0, 5.0), (12.0, 9.0, 18.0, 7.2), (20.0, 18.0, 35.0, 14.4), (500.0, 130.0, None, 15.0)],
)
def test_the_lifetime_of_mappings_is_measured_and_keepalives_follow_it(
    lifetime: float, least: float | None, most: float | None, keepalive: float
) -> None:
    router = SimulatedNat(NatKind.PORT_RESTRICTED, "203.0.113.10", random.Random(1), lifetime=lifetime)
    town = Neighbourhood(router)
    town.a.machine.lifetime.begin(town.net.now)
    town.net.run(320)
    known = town.a.machine.mapping_lifetime
    assert known == Lifetime(least, most)
    assert known.keepalive == pytest.approx(keepalive)
    assert town.a.machine.lifetime.endpoint is None
    for relay in town.relays:
        assert town.a.machine.sessions[relay.id].paths.keepalive <= keepalive


def knock(sender: Member, to: Member, message: control.Knock) -> None:
    town_machine = sender.machine
    town_machine._conversation.send(town_machine.sessions[to.id], message, sender.net.now)
    sender.net.run(0.5)


def test_nobody_gets_more_than_a_few_datagrams_at_an_address_that_a_peer_names() -> None:
    town = Neighbourhood(NatKind.OPEN)
    a, stranger, net = town.a, town.stranger, town.net
    a.machine._lifecycle.ensure(stranger.id, net.now)
    net.run(1)
    began = len(net.sent)
    for number in range(40):
        knock(a, stranger, control.Knock(number.to_bytes(8), bytes([192, 0, 2, 66]), 9000, 0, other_port=False))
    sent = [data for _, source, target, data in net.sent[began:] if target[0] == "192.0.2.66"]
    assert 0 < len(sent) <= 2 * 16
    assert max(map(len, sent)) < 100
    assert stranger.machine.counters["knock_refused"] > 0


@pytest.mark.parametrize(
    ("ip", "port", "delay"),
    [
        (bytes([224, 0, 0, 1]), 9000, 0),
        (bytes([127, 0, 0, 1]), 9000, 0),
        (bytes(4), 9000, 0),
        (bytes([192, 0, 2, 66]), 53, 0),
        (bytes([192, 0, 2, 66]), 9000, 60),
        (bytes([192, 0, 2]), 9000, 0),
    ],
)
def test_what_nobody_should_get_is_refused_and_counted(ip: bytes, port: int, delay: int) -> None:
    town = Neighbourhood(NatKind.OPEN)
    a, stranger = town.a, town.stranger
    a.machine._lifecycle.ensure(stranger.id, town.net.now)
    town.net.run(1)
    knock(a, stranger, control.Knock(bytes(8), ip, port, delay, other_port=False))
    assert stranger.machine.counters["knock_refused"] == 1


def test_a_neighbour_that_asks_for_ever_is_refused() -> None:
    town = Neighbourhood(NatKind.OPEN)
    for number in range(2 * int(BURST)):
        message = control.Knock(number.to_bytes(8), b"", 0, 0, other_port=True)
        town.a.machine._conversation.send(town.a.machine.sessions[town.relays[0].id], message, town.net.now)
    town.net.run(1)
    assert town.relays[0].machine.counters["knock_refused"] > 0


def test_answers_and_datagrams_that_nobody_asked_for_are_dropped_and_counted() -> None:
    town = Neighbourhood(NatKind.OPEN)
    relay, a = town.relays[0].machine, town.a
    for message in (control.Knocked(bytes(8), sent=True), control.Unasked(bytes(8))):
        relay._conversation.send(relay.sessions[a.id], message, town.net.now)
    a.machine.receive(memoryview(b"\x06" + bytes(8)), 9, town.relays[0].endpoint, town.net.now)
    town.net.run(1)
    dropped = [a.machine.counters[name] for name in ("drop_knocked", "drop_unasked", "drop_echo")]
    assert dropped == [1, 1, 1]
