"""Pairs that stay relayed, in virtual time: which neighbour carries them, what its death costs, and its own limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_core.lab.nat import NatKind
from ipop_core.token_bucket import TokenBucket
from ipop_modules.tincan.frames import CONTROL
from ipop_modules.tincan.link.protocol import control
from tests.nat.streets import Member, Pair
from tests.tincan_link.net import Peer

FAR = (0.15, 0.0, 0.06)
"""Seconds that the relays' packets take longer."""
EACH = 0.05
"""Seconds between two frames of a pair's talk."""


def relayed_pair(seed: int) -> Pair:
    pair = Pair(NatKind.SYMMETRIC, NatKind.SYMMETRIC, seed, far=FAR)
    pair.talk(24)  # lists are told every 10 s, and a round trip that was not known yet is in the second one
    assert not pair.direct
    return pair


def relays(one: Member, other: Member) -> list[bytes]:
    return [relay.node for relay in one.machine.sessions[other.id].relays]


def switch_off(pair: Pair, relay: Peer) -> None:
    del pair.net.peers[relay.endpoint]


@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_relay_to_both_sides_carries_the_pair_and_the_next_is_ready(seed: int) -> None:
    pair = relayed_pair(seed)
    far, near, between = pair.relays
    for one, other in ((pair.a, pair.b), (pair.b, pair.a)):
        assert relays(one, other) == [near.id, between.id, far.id]
    before = [relay.machine.counters["relayed"] for relay in pair.relays]
    pair.talk(1)
    after = [relay.machine.counters["relayed"] for relay in pair.relays]
    carried = [b - a for a, b in zip(before, after, strict=True)]
    assert carried[1] >= 2 / EACH
    assert max(carried[0], carried[2]) < 10, "offers and the like at most"
    assert pair.lost() == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_death_of_a_relay_costs_under_a_second(seed: int) -> None:
    pair = relayed_pair(seed)
    switch_off(pair, pair.relays[1])
    pair.talk(5)
    pair.net.run(1)
    lost = pair.lost()
    print(f"{lost} frames lost, {lost * EACH / 2:.2f} s each way")
    assert 0 < lost < 2 * 1.0 / EACH
    assert relays(pair.a, pair.b)[0] == pair.relays[2].id
    pair.talk(12)
    pair.net.run(1)
    assert pair.lost() == lost


def test_the_death_of_two_relays_leaves_the_third() -> None:
    pair = relayed_pair(1)
    switch_off(pair, pair.relays[1])
    pair.talk(3)
    switch_off(pair, pair.relays[2])
    pair.talk(3)
    pair.net.run(1)
    assert pair.lost() < 4 * 1.0 / EACH
    before = pair.lost()
    pair.talk(1)
    pair.net.run(1)
    assert pair.lost() == before


def test_a_relay_that_answers_and_carries_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = relayed_pair(1)
    liar = pair.relays[1].machine._relaying.hospitality
    monkeypatch.setattr(liar, "admits", lambda *_: False)
    pair.talk(6)
    pair.net.run(1)
    lost = pair.lost()
    print(f"{lost} frames lost, {lost * EACH / 2:.2f} s each way")
    assert pair.a.machine.counters["relay_silent"] == 1
    pair.talk(5)
    pair.net.run(1)
    assert pair.lost() == lost


def test_what_strangers_get_is_limited_and_the_rings_own_messages_have_a_part_of_it() -> None:
    pair = relayed_pair(1)
    relay = pair.relays[1].machine
    relay.limit_relaying(0.1, pair.net.now)
    for _ in range(40):
        pair.a.machine.send_role(pair.b.id, "signal", bytes(30_000), pair.net.now)
    pair.net.run(0.1)
    assert relay.counters["drop_stranger_limit"] > 0
    carried = relay.counters["relayed"]
    pair.a.machine.send_routed(pair.b.id, "signal", b"x", pair.net.now, closest=False, via=pair.relays[1].id)
    pair.net.run(0.3)
    assert relay.counters["relayed"] > carried


def test_a_proven_member_is_no_stranger() -> None:
    """Bob's and Alice's packets for each other, by a relay that both have proven themselves to."""
    pair = relayed_pair(1)
    relay = pair.relays[1].machine
    for member in (pair.a, pair.b):
        relay.sessions[member.id].member = True
    relay.limit_relaying(0.1, pair.net.now)
    for _ in range(40):
        pair.a.machine.send_role(pair.b.id, "signal", bytes(30_000), pair.net.now)
    pair.net.run(1)
    assert relay.counters["drop_stranger_limit"] == 0


def test_neighbours_that_the_peer_makes_up_are_no_relays() -> None:
    pair = relayed_pair(1)
    session = pair.b.machine.sessions[pair.a.id]
    made_up = control.Relays(tuple((bytes([n]) * 20, 0) for n in range(16)), wanted=False)
    pair.b.machine._conversation.send(session, made_up, pair.net.now)
    pair.net.run(0.5)
    assert relays(pair.a, pair.b) == []
    pair.talk(12)
    pair.net.run(1)
    assert relays(pair.a, pair.b)[0] == pair.relays[1].id, "and the next true list counts again"
    assert pair.lost() == 0


neighbours = st.lists(st.tuples(st.binary(min_size=20, max_size=20), st.integers(0, 2**32 - 1)), max_size=16)


@given(neighbours, st.booleans())
def test_a_list_of_neighbours_survives_its_journey(known: list[tuple[bytes, int]], wanted: bool) -> None:
    body = memoryview(control.frame(control.Relays(tuple(known), wanted)))
    assert body[0] == CONTROL
    assert control.decode(body[8:]) == control.Relays(tuple(known), wanted)


def test_a_longer_list_than_allowed_is_no_message() -> None:
    body = control.frame(control.Relays(tuple((bytes(20), 1) for _ in range(17)), wanted=False))[8:]
    with pytest.raises(control.BadControl):
        control.decode(memoryview(body))


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 50)), max_size=50))
def test_a_token_bucket_never_gives_more_than_its_rate_and_size(asked: list[tuple[float, float]]) -> None:
    bucket = TokenBucket(rate=10.0, size=20.0, filled_at=0.0)
    given_out = 0.0
    for now, amount in sorted(asked):
        given_out += amount * bucket.take(now, amount)
        assert given_out <= 20.0 + 10.0 * now + 1e-6
