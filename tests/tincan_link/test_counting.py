"""What a machine says it has carried."""

from __future__ import annotations

from tests.tincan_link.net import Net


def test_what_was_carried_never_falls() -> None:
    net = Net(seed=7)
    alice, bob = net.peer("192.0.2.1"), net.peer("192.0.2.2")
    alice.machine.contact(bob.endpoint, None, net.now)
    net.run(2)
    assert alice.machine.counters["handshakes"] == bob.machine.counters["handshakes"] == 1
    before = bob.machine.carried()
    assert before.bytes_out > 0
    assert alice.machine.carried().bytes_in > 0
    alice.machine.close(net.now)
    net.run(2)
    assert not bob.machine.sessions
    after = bob.machine.carried()
    assert after.bytes_out >= before.bytes_out
    assert after.datagrams_out >= before.datagrams_out > 0


def test_a_node_that_meets_itself_is_counted_in_words_like_every_cause() -> None:
    net = Net(seed=8)
    alice = net.peer("192.0.2.1")
    alice.machine.contact(alice.endpoint, None, net.now)
    net.run(2)
    assert alice.machine.counters["handshake_own_id"] == 1
    assert all(name.isidentifier() for name in alice.machine.counters)
