"""How soon a handshake is repeated: what is only slow is waited for."""

from __future__ import annotations

import pytest

from ipop_modules.tincan.link.protocol.establish import REPEAT_DELAYS

from .net import Net, Peer
from .test_machine import ring


def asked_in_vain(net: Net, a: Peer, other: Peer) -> int:
    """How many answers to its greeting a node gets beside the one that it needs."""
    before = a.machine.counters["drop_unasked_response"]
    a.machine.ping(other.id, net.now)
    net.run(4)
    assert a.machine.sessions[other.id].keys is not None
    return a.machine.counters["drop_unasked_response"] - before


@pytest.mark.parametrize("delay", [0.1, 0.16, 0.2])
def test_where_answers_take_longer_than_they_are_waited_for_at_first_peers_are_soon_asked_once(delay: float) -> None:
    net = Net(seed=31)
    a, _, *others = ring(net, 12)
    net.delay = delay
    assert 4 * delay > REPEAT_DELAYS[0], "there and back over two links"
    first, *_, last = [asked_in_vain(net, a, other) for other in others[:-1]]
    assert (first > 0, last) == (True, 0)


def test_what_was_lost_is_still_repeated_soon() -> None:
    net = Net(seed=32)
    a, _, c, *_ = ring(net, 6)
    lost_until = net.now + 0.2
    net.passes = lambda source, target: net.now > lost_until
    a.machine.ping(c.id, net.now)
    net.run(0.2 + REPEAT_DELAYS[0])
    assert a.machine.sessions[c.id].keys is not None


def test_what_is_lost_is_not_taken_for_slow() -> None:
    net = Net(seed=33)
    a, _, *others = ring(net, 24)
    net.passes = lambda source, target: net.random.random() > 0.2
    for other in others[:-1]:
        a.machine.ping(other.id, net.now)
        net.run(4)
    assert a.machine._establishing._over_overlay.timeout < 2 * REPEAT_DELAYS[0]
