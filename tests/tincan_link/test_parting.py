"""What an idle link costs, and when it goes: in virtual time with the real cipher."""

from __future__ import annotations

from ipop_modules.tincan.link.protocol.events import Endpoint, LinkDown, RoleData
from ipop_modules.tincan.link.protocol.loss import REPORT_BLOCKS
from ipop_modules.tincan.link.protocol.parting import ANSWER, PATIENCE
from ipop_modules.tincan.link.protocol.path import DEAD_AFTER, PASSIVE_LIFETIME, SUSPECT_AFTER
from ipop_modules.tincan.link.protocol.routes import distance
from ipop_modules.tincan.link.protocol.session import ACKNOWLEDGE_AFTER

from .net import Net, Peer


def linked(seed: int) -> tuple[Net, Peer, Peer]:
    """Two with a direct link, which the first one needs."""
    net = Net(seed)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    a.machine.contact(b.endpoint, b.id, net.now)
    net.run(0.5)
    a.machine.want(b.id, "near", net.now)
    net.run(5.0)
    net.sent.clear()
    return net, a, b


def senders(net: Net) -> list[Endpoint]:
    return [source for _, source, _, _ in net.sent]


def test_a_message_without_an_answer_costs_one_datagram_back_and_no_probe() -> None:
    net, a, b = linked(101)
    a.machine.send_role(b.id, "topology", b"hello", net.now)
    net.run(4.0)
    assert [event.data for event in b.of(RoleData) if isinstance(event, RoleData)] == [b"hello"]
    assert senders(net) == [a.endpoint, b.endpoint]


def test_a_loss_report_is_an_answer_and_nothing_comes_back_for_it() -> None:
    net, a, b = linked(108)
    said = 0
    while b.endpoint not in senders(net):
        a.machine.send_role(b.id, "topology", b"hello", net.now)
        said += 1
        net.run(ACKNOWLEDGE_AFTER / 20)
    assert said <= REPORT_BLOCKS
    net.run(4.0)
    # The report went before the message that gave rise to it was read, which is acknowledged for itself.
    assert senders(net) == [a.endpoint] * said + [b.endpoint] * 2


def test_a_packet_that_is_passed_on_is_acknowledged_on_each_link() -> None:
    net, a, b = linked(109)
    c = net.peer("10.0.0.3")
    b.machine.contact(c.endpoint, c.id, net.now)
    net.run(0.5)
    b.machine.want(c.id, "near", net.now)
    for near, far, following in ((a, c, b), (b, c, c), (c, a, b)):
        near.machine.set_routes({far.id: following.id}, member=True)
    net.run(5.0)
    net.sent.clear()
    a.machine.send_routed(c.id, "topology", b"hello", net.now, closest=False)
    net.run(4.0)
    assert [event.data for event in c.of(RoleData) if isinstance(event, RoleData)] == [b"hello"]
    assert senders(net) == [a.endpoint, b.endpoint, b.endpoint, c.endpoint]


def test_what_goes_back_anyway_is_the_acknowledgement() -> None:
    net, a, b = linked(102)
    a.machine.send_role(b.id, "topology", b"question", net.now)
    net.run(0.1)
    b.machine.send_role(a.id, "topology", b"answer", net.now)
    net.run(4.0)
    assert senders(net) == [a.endpoint, b.endpoint, a.endpoint]


def test_a_message_to_the_dead_finds_out() -> None:
    net, a, b = linked(103)
    del net.peers[b.endpoint]
    a.machine.send_role(b.id, "topology", b"hello", net.now)
    net.run(SUSPECT_AFTER + DEAD_AFTER + 0.5)
    assert a.of(LinkDown)


def test_a_link_that_neither_side_needs_goes_whatever_passes_by_it() -> None:
    net, a, b = linked(104)
    a.machine.release(b.id, "near", net.now)
    for _ in range(int(PATIENCE) + 2):
        b.machine.send_role(a.id, "topology", b"by the way", net.now, direct_only=True)
        net.run(1.0)
    assert a.of(LinkDown)
    assert b.of(LinkDown)
    assert not a.machine.sessions
    assert not b.machine.sessions


def test_a_link_that_one_side_needs_stays() -> None:
    net, a, b = linked(105)
    b.machine.want(a.id, "long", net.now)
    net.run(1.0)
    a.machine.release(b.id, "near", net.now)
    net.run(3 * PASSIVE_LIFETIME)
    assert not a.of(LinkDown)
    b.machine.release(a.id, "long", net.now)
    net.run(PATIENCE + 2)
    assert a.of(LinkDown)
    assert b.of(LinkDown)


def test_a_link_that_is_needed_again_in_time_stays() -> None:
    net, a, b = linked(106)
    a.machine.release(b.id, "near", net.now)
    net.run(PATIENCE / 2)
    a.machine.want(b.id, "long", net.now)
    net.run(3 * PASSIVE_LIFETIME)
    assert not a.of(LinkDown)
    assert not b.of(LinkDown)


def test_a_link_that_nobody_ever_needed_ends_for_good() -> None:
    net = Net(107)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    net.now += 100.0
    a.machine.contact(b.endpoint, b.id, net.now)
    net.run(PASSIVE_LIFETIME + 5.0)
    assert a.of(LinkDown)
    net.sent.clear()
    net.run(2 * PASSIVE_LIFETIME)
    assert not net.sent


def test_the_end_of_a_link_that_nobody_missed_makes_nobody_ask_around() -> None:
    net, a, b = linked(110)
    other = net.peer("10.0.0.3")
    a.machine.contact(other.endpoint, other.id, net.now)
    net.run(1.0)
    del net.peers[other.endpoint]
    latest = net.now + 2 * PASSIVE_LIFETIME
    while not (gone := a.of(LinkDown)):
        assert net.now < latest
        net.sent.clear()
        net.run(0.05)
    assert [event.reason for event in gone if isinstance(event, LinkDown)] == ["idle"]
    assert b.endpoint not in [target for _, _, target, _ in net.sent]


def test_what_goes_over_a_link_that_ends_arrives() -> None:
    """Packets for others, as fast as they can show it: none is on its way when the other end forgets the session."""
    net = Net(111)
    a, b, c, far = (net.peer(f"10.0.0.{last}") for last in range(1, 5))
    for one, other in ((a, b), (a, c), (b, far), (c, far)):
        one.machine.contact(other.endpoint, other.id, net.now)
        net.run(0.5)
        one.machine.want(other.id, "near", net.now)
    a.machine.set_routes({relay.id: relay.id for relay in (b, c)}, member=False)
    for relay in (b, c):
        relay.machine.set_routes({far.id: far.id}, member=True)
    net.run(1.0)
    used = min((b, c), key=lambda relay: distance(int.from_bytes(relay.id), int.from_bytes(far.id)))
    a.machine.release(used.id, "near", net.now)
    sent = 0
    while not a.of(LinkDown):
        assert sent < 200 * (PATIENCE + 3)
        a.machine.send_routed(far.id, "topology", b"%d" % sent, net.now, closest=False)
        sent += 1
        net.run(0.005)
    net.run(1.0)
    assert len([event for event in far.of(RoleData) if isinstance(event, RoleData)]) == sent


def test_a_link_that_the_peer_needs_is_used_again_soon() -> None:
    net, a, b = linked(112)
    b.machine.want(a.id, "long", net.now)
    net.run(1.0)
    a.machine.release(b.id, "near", net.now)
    net.run(PATIENCE + ANSWER + 1.0)
    assert not a.of(LinkDown)
    net.sent.clear()
    a.machine.send_role(b.id, "topology", b"hello", net.now)
    net.run(0.1)
    assert b.of(RoleData)
