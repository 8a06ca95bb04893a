"""What an idle link costs, and when it goes: in virtual time with the real cipher."""

from __future__ import annotations

from ipop_modules.tincan.link.protocol.events import LinkDown, RoleData
from ipop_modules.tincan.link.protocol.parting import PATIENCE
from ipop_modules.tincan.link.protocol.path import DEAD_AFTER, PASSIVE_LIFETIME, SUSPECT_AFTER

from .net import Net, Peer


def linked(net: Net) -> tuple[Peer, Peer]:
    """Two with a direct link, which the first one needs."""
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    a.machine.contact(b.endpoint, b.id, net.now)
    net.run(0.5)
    a.machine.want(b.id, "near", net.now)
    net.run(5.0)
    return a, b


def test_a_message_without_an_answer_costs_one_datagram_back_and_no_probe() -> None:
    net = Net(101)
    a, b = linked(net)
    before = len(net.sent)
    a.machine.send_role(b.id, "topology", b"hello", net.now)
    net.run(4.0)
    assert [event.data for event in b.of(RoleData) if isinstance(event, RoleData)] == [b"hello"]
    assert [source for _, source, _, _ in net.sent[before:]] == [a.endpoint, b.endpoint]


def test_what_goes_back_anyway_is_the_acknowledgement() -> None:
    net = Net(102)
    a, b = linked(net)
    before = len(net.sent)
    a.machine.send_role(b.id, "topology", b"question", net.now)
    net.run(0.1)
    b.machine.send_role(a.id, "topology", b"answer", net.now)
    net.run(4.0)
    sources = [source for _, source, _, _ in net.sent[before:]]
    assert sources == [a.endpoint, b.endpoint, a.endpoint]


def test_a_message_to_the_dead_finds_out() -> None:
    net = Net(103)
    a, b = linked(net)
    del net.peers[b.endpoint]
    a.machine.send_role(b.id, "topology", b"hello", net.now)
    net.run(SUSPECT_AFTER + DEAD_AFTER + 0.5)
    assert a.of(LinkDown)


def test_a_link_that_neither_side_needs_goes_whatever_passes_by_it() -> None:
    net = Net(104)
    a, b = linked(net)
    a.machine.release(b.id, "near", net.now)
    for _ in range(int(PATIENCE) + 2):
        b.machine.send_role(a.id, "topology", b"by the way", net.now, direct_only=True)
        net.run(1.0)
    assert a.of(LinkDown)
    assert b.of(LinkDown)
    assert not a.machine.sessions
    assert not b.machine.sessions


def test_a_link_that_one_side_needs_stays() -> None:
    net = Net(105)
    a, b = linked(net)
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
    net = Net(106)
    a, b = linked(net)
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
    before = len(net.sent)
    net.run(2 * PASSIVE_LIFETIME)
    assert len(net.sent) == before
