"""A direct link that only the peer wants is given up, and the session goes on over the overlay with nothing lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipop_modules.tincan.link.protocol.events import LinkDown, RoleData, SessionClosed
from ipop_modules.tincan.link.protocol.parting import TURNED_AWAY, Parting

from .net import Net, Peer

EVERY = 0.02


def triangle(seed: int) -> tuple[Net, Peer, Peer]:
    """A visitor with a direct link to its host, and a third by whom packets go between the two without it."""
    net = Net(seed)
    visitor, host, third = (net.peer(f"10.0.0.{last}") for last in (1, 2, 3))
    for one, other in ((visitor, third), (host, third), (visitor, host)):
        one.machine.contact(other.endpoint, other.id, net.now)
        net.run(0.5)
    for one in (visitor, host):
        one.machine.want(third.id, "near", net.now)
    visitor.machine.want(host.id, "shortcut", net.now)
    for one, other in ((visitor, host), (host, visitor)):
        one.machine.set_routes({third.id: third.id, other.id: third.id}, member=True)
    third.machine.set_routes({visitor.id: visitor.id, host.id: host.id}, member=True)
    net.run(2.0)
    assert is_direct(visitor, host) and is_direct(host, visitor)
    return net, visitor, host


def is_direct(here: Peer, there: Peer) -> bool:
    return here.machine.sessions[there.id].direct


def talk(net: Net, one: Peer, other: Peer, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Both send all the time; `meanwhile` happens a second after the beginning. Everything must arrive, once."""
    for peer in (one, other):
        peer.events.clear()
    count = int(seconds / EVERY)
    for number in range(count):
        if number == int(1 / EVERY):
            meanwhile()
        for here, there in ((one, other), (other, one)):
            here.machine.send_role(there.id, "topology", b"%d" % number + bytes(4000), net.now)
        net.run(EVERY)
    net.run(1.0)
    for here, there in ((one, other), (other, one)):
        heard = [event.data for event in here.of(RoleData) if isinstance(event, RoleData) and event.sender == there.id]
        assert sorted(int(data.rstrip(b"\0")) for data in heard) == list(range(count))
        assert not here.of(SessionClosed)


def why_down(here: Peer, there: Peer) -> list[str]:
    return [event.reason for event in here.of(LinkDown) if isinstance(event, LinkDown) and event.node == there.id]


def test_both_go_over_the_overlay_and_nothing_is_lost() -> None:
    net, visitor, host = triangle(1)
    talk(net, visitor, host, 8.0, lambda: host.machine.turn_away(visitor.id, net.now))
    assert why_down(visitor, host) == why_down(host, visitor) == ["turned away"]
    assert not is_direct(visitor, host) and not is_direct(host, visitor)
    assert host.machine.counters["refused_direct_path"] == 1


def meet(net: Net, one: Peer, other: Peer) -> None:
    """As signal does: each is told the other's addresses."""
    for here, there in ((one, other), (other, one)):
        here.machine.probe(there.id, [there.endpoint], net.now)
    net.run(7.0)


def test_who_was_turned_away_stays_so_until_it_has_waited_or_the_host_wants_it() -> None:
    net, visitor, host = triangle(2)
    host.machine.turn_away(visitor.id, net.now)
    net.run(1.0)
    meet(net, visitor, host)
    assert not is_direct(visitor, host) and not is_direct(host, visitor)
    host.machine.connect(visitor.id, "shortcut", None, net.now)
    meet(net, visitor, host)
    assert is_direct(visitor, host) and is_direct(host, visitor)
    host.machine.release(visitor.id, "shortcut", net.now)
    host.machine.turn_away(visitor.id, net.now)
    for _ in range(int(TURNED_AWAY / 30) + 1):
        visitor.machine.send_role(host.id, "topology", b"still here", net.now)
        net.run(30.0)
    assert not is_direct(visitor, host)
    meet(net, visitor, host)
    assert is_direct(visitor, host) and is_direct(host, visitor)


def test_a_link_that_the_host_wants_itself_is_kept() -> None:
    net, visitor, host = triangle(3)
    host.machine.want(visitor.id, "near", net.now)
    host.machine.turn_away(visitor.id, net.now)
    net.run(1.0)
    assert is_direct(host, visitor) and not why_down(host, visitor)


def test_who_does_not_heed_it_finds_the_path_dead_and_loses_nothing_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may greet anew, as whoever comes: then it is turned away anew."""
    net, visitor, host = triangle(4)
    monkeypatch.setattr(Parting, "turned_away", lambda self, session, now: None)
    talk(net, visitor, host, 8.0, lambda: host.machine.turn_away(visitor.id, net.now))
    assert why_down(visitor, host) == ["no answer"]
