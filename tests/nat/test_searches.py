"""A search takes two: one that a side can't take part in now is begun by neither, and by both when it can."""

from __future__ import annotations

import pytest

from ipop_core.lab.nat import NatKind
from ipop_modules.tincan.link.protocol.searching import Part
from tests.nat.streets import PORT, Member, Pair


def with_another(seed: int) -> tuple[Pair, Member]:
    """Alice behind a symmetric NAT, Bob and one more member behind strict ones."""
    pair = Pair(NatKind.SYMMETRIC, NatKind.PORT_RESTRICTED, seed)
    net = pair.net
    carol = net.member(NatKind.PORT_RESTRICTED, 30)
    for relay in pair.relays:
        carol.machine.contact(relay.endpoint, relay.id, net.now)
    net.run(1)
    carol.machine.set_routes({node: node for node in carol.machine.sessions}, member=False)
    for other in (pair.b, carol):
        pair.a.machine.want_member(other.id, net.now)
        other.machine.want_member(pair.a.id, net.now)
    net.run(1)
    return pair, carol


def part(member: Member, other: Member) -> object:
    return member.machine.searching.told(other.id, member.net.now)["part"]


def sent(member: Member) -> int:
    return member.machine.counters["search_sent"]


def is_direct(member: Member, other: Member) -> bool:
    return member.machine.sessions[other.id].direct


@pytest.mark.parametrize("ahead", [0.0, 0.03, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_nobody_searches_alone_while_the_other_searches_for_somebody_else(seed: int, ahead: float) -> None:
    pair, carol = with_another(seed)
    alice, bob, net = pair.a, pair.b, pair.net
    alice.machine.connect(carol.id, "shortcut", None, net.now)
    net.run(ahead)
    bob.machine.connect(alice.id, "shortcut", None, net.now)
    alice.machine.connect(bob.id, "shortcut", None, net.now)
    began = net.now
    while not (is_direct(alice, bob) and is_direct(bob, alice)):
        net.run(0.05)
        alone = part(alice, bob) is None and not is_direct(alice, bob)
        assert not (alone and part(bob, alice) and sent(bob)), f"seed {seed}: Bob guesses alone at {net.now}"
        assert net.now - began < 40
    assert alice.machine.counters["search_busy"] > 0
    net.run(10)
    assert is_direct(alice, carol)
    assert is_direct(carol, alice)
    assert sent(alice) <= 2 * 256
    assert sent(bob) + sent(carol) <= 2 * (2000 - 256)


def test_nobody_searches_alone_while_the_other_rests() -> None:
    pair, carol = with_another(seed=1)
    alice, bob, net = pair.a, pair.b, pair.net
    alice.machine.probe(carol.id, [], net.now, search=(Part.OPEN, ("203.0.113.20", PORT)))
    net.run(16)
    assert sent(alice) == 256, "in vain, on Bob's router"
    bob.machine.connect(alice.id, "shortcut", None, net.now)
    alice.machine.connect(bob.id, "shortcut", None, net.now)
    net.run(10)
    assert alice.machine.counters["search_resting"] + bob.machine.counters["search_peer_unable"] > 0
    assert sent(bob) == 0
    net.run(110)
    assert is_direct(bob, alice), "both, when the rest is over"


def test_a_peer_that_changes_its_word_buys_no_second_budget() -> None:
    pair, _ = with_another(seed=1)
    pair.net.passes = lambda source, target: (
        "203.0.113.10" not in (source[0], target[0])
        or "203.0.113.20"
        not in (
            source[0],
            target[0],
        )
    )
    bob, net = pair.b, pair.net
    for number in range(200):
        bob.machine.probe(pair.a.id, [], net.now, search=(Part.GUESS, ("192.0.2.66", 9)), peer_is_able=number % 8 < 4)
        net.run(0.5)
    assert 0 < sent(bob) <= 2 * (2000 - 256), "one attempt, and one more after a rest"
