"""Who is on the way to a node, and senders whose address is not known to be their own."""

from __future__ import annotations

from ipop_modules.tincan.link.protocol.card_traffic import UNPLACED_INTERVAL
from ipop_modules.tincan.link.protocol.events import PingAnswered, TraceAnswered, Unplaced
from ipop_modules.tincan.link.protocol.relaying import TRACES_A_SECOND

from .net import Net, Peer
from .test_machine import frame, ring


def traced(net: Net, asker: Peer, target: Peer, hops: int) -> list[bytes]:
    before = len(asker.of(TraceAnswered))
    token = asker.machine.trace(target.id, hops, net.now)
    net.run(1)
    answers = asker.of(TraceAnswered)[before:]
    assert all(answer.token == token for answer in answers)
    return [answer.node for answer in answers]


def test_every_node_on_the_way_answers_in_its_turn_and_the_last_is_the_target() -> None:
    net = Net(61)
    peers = ring(net, 6)
    a, z = peers[0], peers[3]
    a.machine.ping(z.id, net.now)
    net.run(1)
    (ping,) = a.of(PingAnswered)
    way = [traced(net, a, z, hops) for hops in range(1, ping.hops + 1)]
    assert way in ([[peers[1].id], [peers[2].id], [z.id]], [[peers[5].id], [peers[4].id], [z.id]])
    assert traced(net, a, z, ping.hops + 5) == [z.id]


def test_a_trace_from_outside_the_ring_comes_back_by_its_neighbour() -> None:
    net = Net(62)
    peers = ring(net, 5)
    guest = net.peer("10.0.0.99")
    guest.machine.contact(peers[0].endpoint, peers[0].id, net.now)
    net.run(0.5)
    guest.machine.set_routes({peers[0].id: peers[0].id}, member=False)
    assert traced(net, guest, peers[2], 1) == [peers[0].id]
    assert traced(net, guest, peers[2], 9) == [peers[2].id]


def test_one_node_answers_so_many_traces_and_no_more() -> None:
    net = Net(63)
    peers = ring(net, 5)
    for _ in range(2 * int(TRACES_A_SECOND)):
        peers[0].machine.trace(peers[2].id, 1, net.now)
    net.run(0.4)
    assert len(peers[0].of(TraceAnswered)) <= 2 * TRACES_A_SECOND - 1
    assert sum(peer.machine.counters["drop_trace_limit"] for peer in peers) >= 1


def test_frames_from_an_address_that_nobody_confirmed_are_held_and_told_now_and_then() -> None:
    net = Net(64)
    peers = ring(net, 4)
    a, z = peers[0], peers[1]
    for _ in range(5):
        a.machine.send_card(z.id, frame(b"who am i"), net.now)
        net.run(UNPLACED_INTERVAL / 5)
    (told,) = z.of(Unplaced)
    assert (told.node, told.frame) == (a.id, b"who am i")
    net.run(UNPLACED_INTERVAL)
    a.machine.send_card(z.id, frame(b"still here"), net.now)
    net.run(0.1)
    assert [event.frame for event in z.of(Unplaced)] == [b"who am i", b"still here"]
    assert not z.card


class Nothing:
    def refusal(self, frame: memoryview) -> str:
        return "source_address"


def test_a_refused_source_is_told_too_and_dropped() -> None:
    net = Net(65)
    peers = ring(net, 4)
    a, z = peers[0], peers[1]
    a.machine.send_card(z.id, frame(b"first"), net.now)
    net.run(1.5)
    z.machine.confirm_source(a.id, Nothing(), net.now)
    net.run(2)
    before = len(z.of(Unplaced))
    a.machine.send_card(z.id, frame(b"spoofed"), net.now)
    net.run(0.1)
    assert [event.frame for event in z.of(Unplaced)][before:] == [b"spoofed"]
    assert not z.card
