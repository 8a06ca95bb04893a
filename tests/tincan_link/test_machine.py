"""Sessions from first contact over the overlay to a direct path, in virtual time with the real cipher."""

from __future__ import annotations

import pytest

from ipop_core.namespace import Namespace
from ipop_modules.tincan.frames import CARD, FRAME_HEADER, MAX_FRAME
from ipop_modules.tincan.link.protocol.events import (
    ConnectFailed,
    DirectWanted,
    LinkDown,
    LinkUp,
    MemberProven,
    PingAnswered,
    RoleData,
)
from ipop_modules.tincan.link.protocol.routes import distance

from .net import Net, Peer


class Anything:
    def refusal(self, frame: memoryview) -> str:
        return ""


class Nothing:
    def refusal(self, frame: memoryview) -> str:
        return "source_address"


def link(net: Net, a: Peer, b: Peer) -> None:
    """A direct link between two, as signal makes it with a bootstrap."""
    a.machine.contact(b.endpoint, b.id, net.now)
    net.run(0.5)
    a.machine.want(b.id, "near", net.now)
    b.machine.want(a.id, "near", net.now)
    assert a.machine.sessions[b.id].direct
    assert b.machine.sessions[a.id].direct


def ring(net: Net, count: int) -> list[Peer]:
    """A ring of nodes in order of their ids, each linked to the next and with the routes to show for it."""
    peers = sorted((net.peer(f"10.0.0.{i + 1}", [f"192.168.10.{i + 1}"]) for i in range(count)), key=lambda p: p.id)
    for a, b in zip(peers, [*peers[1:], peers[0]], strict=True):
        link(net, a, b)
    for peer in peers:
        peer.machine.set_routes({node: node for node in peer.machine.sessions}, member=True)
    return peers


def frame(text: bytes) -> bytes:
    return FRAME_HEADER.pack(CARD, 0, 0, len(text)) + text


def trust(peer: Peer, other: Peer) -> None:
    peer.machine.confirm_source(other.id, Anything(), peer.net.now)


def test_first_contact_makes_a_direct_link_for_both() -> None:
    net = Net(1)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    a.machine.contact(b.endpoint, None, net.now)
    net.run(1)
    assert [event.node for event in a.of(LinkUp)] == [b.id]
    assert [event.node for event in b.of(LinkUp)] == [a.id]


def test_contact_with_nobody_fails_and_with_another_node_too() -> None:
    net = Net(2)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    a.machine.contact(("10.0.0.9", 1), None, net.now)
    a.machine.contact(b.endpoint, bytes(20), net.now)
    net.run(10)
    assert sorted(event.reason for event in a.of(ConnectFailed)) == ["no answer", "wrong-node"]


def test_frames_that_the_card_takes_as_trains_come_once_and_in_order() -> None:
    net = Net(17)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, a, b)
    a.machine.send_card(b.id, frame(b"one") * 2, net.now)
    net.run(1)
    assert (b.trains, b.card) == ([], []), "not before its source is confirmed"
    trust(b, a)
    assert [body for _, _, body in b.card] == [b"one"] * 2
    b.card.clear()
    alike, others = frame(b"two") * 2 + frame(b"six") * 2, frame(b"nine") + frame(b"seven") * 2
    a.machine.send_card(b.id, alike + others, net.now)
    net.run(1)
    assert b.trains == [frame(b"two") * 2, frame(b"six") * 2]
    assert [body for _, _, body in b.card] == [b"nine", b"seven", b"seven"]
    b.machine.sessions[a.id].source = Nothing()
    a.machine.send_card(b.id, alike, net.now)
    net.run(1)
    assert len(b.trains) == 2
    assert b.machine.counters["drop_source_address"] == 4


def test_card_frames_wait_for_the_session_and_none_is_lost() -> None:
    net = Net(3)
    peers = ring(net, 6)
    a, z = peers[0], peers[3]
    a.machine.send_card(z.id, frame(b"one"), net.now)
    a.machine.send_card(z.id, frame(b"two") + frame(b"three"), net.now)
    net.run(0.5)
    assert [event.node for event in z.of(MemberProven)] == [a.id]
    assert z.card == [], "frames wait until the directory has confirmed the sender's address"
    trust(z, a)
    assert [text for _, _, text in z.card] == [b"one", b"two", b"three"]
    assert z.machine.sessions[a.id].hops == 3
    assert a.of(DirectWanted)


def test_direct_path_takes_over_without_loss_and_falls_back() -> None:
    net = Net(4)
    peers = ring(net, 6)
    a, z = peers[0], peers[3]
    a.machine.want_member(z.id, net.now)
    net.run(0.5)
    trust(z, a)
    trust(a, z)
    sent = []

    def traffic(seconds: float) -> None:
        for _ in range(int(seconds * 50)):
            sent.append(b"%d" % len(sent))
            a.machine.send_card(z.id, frame(sent[-1]), net.now)
            z.machine.send_card(a.id, frame(sent[-1]), net.now)
            net.run(0.02)

    traffic(1)
    a.machine.probe(z.id, [z.endpoint], net.now)
    z.machine.probe(a.id, [a.endpoint], net.now)
    traffic(1)
    assert a.machine.sessions[z.id].direct
    assert z.machine.sessions[a.id].direct
    net.run(0.2)
    assert sorted(text for _, _, text in z.card) == sorted(sent), "the faster path may overtake, nothing is lost"
    assert sorted(text for _, _, text in a.card) == sorted(sent)
    before = len(z.card)
    net.passes = lambda source, target: {source, target} != {a.endpoint, z.endpoint}
    traffic(6)
    assert [event.node for event in a.of(LinkDown)] == [z.id]
    after = len(z.card)
    traffic(1)
    net.run(0.2)
    assert len(z.card) - after >= 50, "traffic goes on over the overlay"
    print(f"lost while the direct path was dead: {len(sent) - len(z.card)}")
    assert after - before > 0


def test_a_stranger_gets_no_frame_through() -> None:
    net = Net(5)
    a = net.peer("10.0.0.1")
    stranger = net.peer("10.0.0.2", namespace=Namespace("other", "open", b"x" * 32))
    friend = net.peer("10.0.0.3")
    for other in (stranger, friend):
        link(net, other, a)
        other.machine.want_member(a.id, net.now)
        net.run(0.5)
        trust(a, other)
        session = other.machine.sessions[a.id]
        session.member = True  # it does not care whether we are one
        other.machine.send_card(a.id, frame(b"from " + other.endpoint[0].encode()), net.now)
        net.run(0.5)
    assert [text for _, _, text in a.card] == [b"from 10.0.0.3"]
    assert a.machine.counters["drop_not_member"] >= 1


def test_keys_change_under_traffic_and_nothing_is_lost() -> None:
    net = Net(6)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, a, b)
    a.machine.want_member(b.id, net.now)
    net.run(0.5)
    trust(a, b)
    trust(b, a)
    keys = set()
    count = 0
    for _ in range(8000):
        a.machine.send_card(b.id, frame(b"%d" % count), net.now)
        b.machine.send_card(a.id, frame(b"%d" % count), net.now)
        count += 1
        net.run(0.05)
        keys.add(a.machine.sessions[b.id].keys.pair.local_rid)
    net.run(0.5)
    assert len(b.card) == len(a.card) == count
    assert 4 <= len(keys) <= 6, "400 s of card traffic, new keys every 120 s"


@pytest.mark.parametrize("seed", range(5))
def test_crossed_handshakes_agree_on_keys(seed: int) -> None:
    net = Net(seed)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    a.machine.contact(b.endpoint, None, net.now)
    b.machine.contact(a.endpoint, None, net.now)
    net.run(1)
    mine = a.machine.sessions[b.id].keys.pair
    theirs = b.machine.sessions[a.id].keys.pair
    assert (mine.local_rid, mine.remote_rid) == (theirs.remote_rid, theirs.local_rid)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("after", [0.05, 0.5, 3.0])
def test_a_peer_that_is_restarted_right_after_a_handshake_is_heard_and_hears(seed: int, after: float) -> None:
    net = Net(seed)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    a.machine.contact(b.endpoint, None, net.now)
    net.run(after)
    assert a.machine.sessions[b.id].direct
    b.restart()
    b.machine.contact(a.endpoint, None, net.now)
    net.run(0.5)
    for one, other in ((a, b), (b, a)):
        assert one.machine.send_role(other.id, "topology", b"do you hear me", net.now, direct_only=True)
        net.run(0.1)
        assert [event.data for event in other.of(RoleData)] == [b"do you hear me"]


def test_a_lossy_way_still_ends_in_a_session() -> None:
    net = Net(7)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    net.passes = lambda source, target: net.random.random() > 0.3
    for _ in range(5):
        a.machine.contact(b.endpoint, None, net.now)
        net.run(6)
    assert a.machine.sessions[b.id].direct


def test_routed_messages_end_at_the_nearest_member_and_come_back_by_via() -> None:
    net = Net(8)
    peers = ring(net, 6)
    newcomer = net.peer("10.0.0.99")
    link(net, newcomer, peers[2])
    newcomer.machine.set_routes({peers[2].id: peers[2].id}, member=False)
    key = bytes([peers[5].id[0]]) + bytes(19)
    newcomer.machine.send_routed(key, "topology", b"who is nearest", net.now, closest=True)
    net.run(1)
    found = [(peer, event) for peer in peers for event in peer.of(RoleData)]
    assert len(found) == 1
    nearest, message = found[0]
    gaps = [distance(int.from_bytes(peer.id), int.from_bytes(key)) for peer in peers]
    assert nearest is peers[gaps.index(min(gaps))]
    assert message.via == peers[2].id
    nearest.machine.send_routed(message.sender, "topology", b"I am", net.now, closest=False, via=message.via)
    net.run(1)
    assert [event.data for event in newcomer.of(RoleData)] == [b"I am"]


def test_a_session_from_outside_the_ring_goes_by_via() -> None:
    net = Net(9)
    peers = ring(net, 5)
    newcomer = net.peer("10.0.0.99")
    link(net, newcomer, peers[0])
    newcomer.machine.set_routes({peers[0].id: peers[0].id}, member=False)
    newcomer.machine.connect(peers[4].id, "near", peers[0].id, net.now)
    net.run(0.5)
    assert newcomer.machine.sessions[peers[4].id].keys is not None
    newcomer.machine.probe(peers[4].id, [peers[4].endpoint], net.now)
    net.run(0.5)
    assert newcomer.machine.sessions[peers[4].id].direct


@pytest.mark.parametrize("seed", [2, 3, 5])
def test_who_joined_by_a_neighbour_that_died_is_reached_by_the_ring(seed: int) -> None:
    """As soon as the link to that neighbour is failing; it used to be when the link was given up, seconds later."""
    net = Net(seed)
    peers = ring(net, 6)
    a, dead, other = peers[0], peers[1], peers[5]
    newcomer = net.peer("10.0.0.99")
    link(net, newcomer, dead)
    newcomer.machine.set_routes({dead.id: dead.id}, member=False)
    newcomer.machine.connect(a.id, "near", dead.id, net.now)
    net.run(0.5)
    assert a.machine.sessions[newcomer.id].via == dead.id
    link(net, newcomer, other)
    newcomer.machine.set_routes({other.id: other.id}, member=True)
    a.machine.set_routes({dead.id: dead.id, other.id: other.id, newcomer.id: other.id}, member=True)
    net.passes = lambda source, target: dead.endpoint not in (source, target)
    while not a.machine.sessions[dead.id].failing:
        a.machine.send_role(newcomer.id, "topology", b"lost", net.now)
        net.run(0.1)
    assert a.machine.sessions[dead.id].direct
    a.machine.send_role(newcomer.id, "topology", b"do you hear me", net.now)
    net.run(0.1)
    assert newcomer.of(RoleData)[-1].data == b"do you hear me"


def test_ping_counts_hops() -> None:
    net = Net(10)
    peers = ring(net, 6)
    peers[0].machine.ping(peers[3].id, net.now)
    net.run(1)
    answer = peers[0].of(PingAnswered)[-1]
    assert (answer.direct, answer.hops) == (False, 3)
    peers[0].machine.ping(peers[1].id, net.now)
    net.run(1)
    assert (peers[0].of(PingAnswered)[-1].direct, peers[0].of(PingAnswered)[-1].hops) == (True, 1)


def test_two_sides_that_are_sure_of_each_other_do_not_go_on_asking() -> None:
    net = Net(12)
    peers = ring(net, 5)
    a, c = peers[0], peers[2]
    for _ in range(2):
        a.machine.send_role(c.id, "topology", b"nothing answers this", net.now)
        net.run(5)
    answered = len(a.of(PingAnswered)) + len(c.of(PingAnswered))
    assert answered
    net.run(30)
    assert len(a.of(PingAnswered)) + len(c.of(PingAnswered)) == answered


def test_half_open_handshakes_are_bounded_and_ask_for_a_token() -> None:
    net = Net(11)
    a = net.peer("10.0.0.1")
    flood = [net.peer(f"10.1.{i // 250}.{i % 250 + 1}") for i in range(100)]
    for peer in flood:
        peer.machine.contact(a.endpoint, None, net.now)
    net.passes = lambda source, target: target == a.endpoint
    net.run(0.1)
    assert a.machine.counters["retry_sent"] > 0
    net.passes = lambda source, target: True
    late = net.peer("10.2.0.1")
    late.machine.contact(a.endpoint, None, net.now)
    net.run(1)
    assert late.machine.sessions[a.id].direct


def test_machine_survives_anything() -> None:
    net = Net(12)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, a, b)
    for _ in range(3000):
        size = net.random.randrange(1500)
        data = bytearray(net.random.randbytes(size))
        if data:
            data[0] = net.random.choice([0, 1, 2, 3, 4, 5, data[0]])
        a.machine.receive(memoryview(bytes(data)), max(1, net.random.randrange(1500)), b.endpoint, net.now)
    for _, source, _target, original in [record for record in net.sent if record[2] == a.endpoint]:
        data = bytearray(original)
        data[net.random.randrange(len(data))] ^= 1 << net.random.randrange(8)
        a.machine.receive(memoryview(bytes(data)), len(data), source, net.now)
    a.machine.ping(b.id, net.now)
    net.run(1)
    assert a.of(PingAnswered), "the session is as it was"


def test_a_replayed_datagram_is_dropped() -> None:
    net = Net(13)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, a, b)
    for m in (a, b):
        m.machine.want_member((b if m is a else a).id, net.now)
    net.run(0.5)
    trust(b, a)
    a.machine.send_card(b.id, frame(b"once"), net.now)
    net.run(0.1)
    _, source, _, datagram = net.sent[-1] if net.sent[-1][2] == b.endpoint else net.sent[-2]
    control = len(b.card)
    b.machine.receive(memoryview(datagram), len(datagram), source, net.now)
    assert control == 1
    assert len(b.card) == 1
    assert b.machine.counters["drop_replay"] == 1


def test_a_peer_that_was_restarted_is_greeted_anew() -> None:
    net = Net(14)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, a, b)
    b.restart()
    a.machine.want_member(b.id, net.now)
    net.run(10)
    a.machine.send_card(b.id, frame(b"again"), net.now)
    net.run(1)
    trust(b, a)
    assert [text for _, _, text in b.card] == [b"again"]
    assert a.machine.sessions[b.id].direct


def test_a_peer_that_was_restarted_is_greeted_anew_over_the_overlay() -> None:
    net = Net(15)
    peers = ring(net, 6)
    a, z = peers[0], peers[3]
    a.machine.ping(z.id, net.now)
    net.run(1)
    z.restart()
    for neighbour in (peers[2], peers[4]):
        z.machine.contact(neighbour.endpoint, neighbour.id, net.now)
    net.run(1)
    z.machine.set_routes({node: node for node in z.machine.sessions}, member=True)
    a.machine.want_member(z.id, net.now)
    for number in range(40):
        a.machine.send_card(z.id, frame(b"%d" % number), net.now)
        net.run(0.2)
    trust(z, a)
    assert z.card, "the session goes on under new keys"


def test_a_lost_proof_is_repeated() -> None:
    net = Net(16)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, a, b)
    net.passes = lambda source, target: False
    a.machine.send_card(b.id, frame(b"waits"), net.now)
    net.run(0.3)
    net.passes = lambda source, target: True
    net.run(2)
    trust(b, a)
    assert [text for _, _, text in b.card] == [b"waits"]


def test_the_answer_to_a_proof_may_be_lost_too() -> None:
    net = Net(17)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, a, b)
    net.passes = lambda source, target: target != a.endpoint
    a.machine.send_card(b.id, frame(b"waits"), net.now)
    net.run(0.3)
    net.passes = lambda source, target: True
    net.run(2)
    trust(b, a)
    assert [text for _, _, text in b.card] == [b"waits"]


def test_the_longest_frame_goes_over_relays_too() -> None:
    net = Net(18)
    peers = ring(net, 6)
    a, z = peers[0], peers[3]
    longest = frame(bytes(MAX_FRAME))
    a.machine.send_card(z.id, frame(b"first"), net.now)
    net.run(1)
    trust(z, a)
    z.card.clear()
    assert a.machine.sessions[z.id].paths.active is None
    a.machine.send_card(z.id, longest, net.now)
    net.run(1)
    assert [len(body) for _, _, body in z.card] == [MAX_FRAME]


def test_what_no_peer_would_take_is_dropped_and_counted() -> None:
    net = Net(19)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, a, b)
    assert not a.machine.send_role(b.id, "topology", bytes(70_000), net.now)
    assert a.machine.counters["drop_block_long"] == 1
