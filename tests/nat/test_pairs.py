"""Every kind of NAT with every other, in virtual time: which pairs get a direct path, how soon, and no loss."""

from __future__ import annotations

from itertools import product

import pytest

from ipop_core.lab.nat import FIVE_KINDS, NatKind
from ipop_modules.tincan.link.protocol.path import State
from tests.nat.streets import Pair

EASY = [
    pair
    for pair in product(FIVE_KINDS, repeat=2)
    if pair not in product((NatKind.SYMMETRIC,), (NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC))
    and pair != (NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC)
]


def name(kind: object) -> str:
    return str(getattr(kind, "value", kind))


@pytest.mark.parametrize(("a", "b"), EASY, ids=name)
def test_an_easy_pair_is_direct_at_once_and_nothing_is_lost(a: NatKind, b: NatKind) -> None:
    pair = Pair(a, b, seed=1)
    pair.talk(5, until_direct=True)
    assert pair.direct
    assert pair.elapsed < 1.0
    pair.talk(2)
    pair.net.run(1)
    assert pair.lost() == 0


@pytest.mark.parametrize(
    ("a", "b"),
    [(NatKind.SYMMETRIC, NatKind.PORT_RESTRICTED), (NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC)],
    ids=name,
)
@pytest.mark.parametrize("seed", range(3))
def test_a_symmetric_and_a_strict_nat_meet_by_a_search_within_its_budget(a: NatKind, b: NatKind, seed: int) -> None:
    pair = Pair(a, b, seed)
    pair.talk(15, until_direct=True)
    assert pair.direct
    pair.talk(2)
    pair.net.run(1)
    assert pair.lost() == 0
    spent = sum(member.machine.counters["search_sent"] for member in (pair.a, pair.b))
    assert 256 < spent <= 2000
    assert pair.a.opened + pair.b.opened == 256


def test_two_symmetric_nats_stay_relayed_without_a_search() -> None:
    pair = Pair(NatKind.SYMMETRIC, NatKind.SYMMETRIC, seed=1)
    pair.talk(10)
    pair.net.run(1)
    assert not pair.direct
    assert pair.lost() == 0
    assert pair.a.opened == pair.b.opened == 0


@pytest.mark.parametrize("other", [NatKind.PORT_RESTRICTED, NatKind.SEQUENTIAL], ids=name)
def test_a_regular_step_is_predicted(other: NatKind) -> None:
    pair = Pair(NatKind.SEQUENTIAL, other, seed=1)
    pair.talk(10, until_direct=True)
    assert pair.direct
    assert pair.a.opened == pair.b.opened == 0
    assert pair.elapsed < 1.5


@pytest.mark.parametrize("between", [*product(range(3), repeat=2)], ids=str)
@pytest.mark.parametrize("seed", range(2))
def test_two_regular_steps_meet_though_other_flows_come_in_between(between: tuple[int, int], seed: int) -> None:
    pair = Pair(NatKind.SEQUENTIAL, NatKind.SEQUENTIAL, seed)
    pair.a.between, pair.b.between = between
    pair.talk(10, until_direct=True)
    assert pair.direct
    assert pair.elapsed < 1.5


@pytest.mark.parametrize("kind", [NatKind.PORT_RESTRICTED, NatKind.ADDRESS_RESTRICTED], ids=name)
def test_a_careless_router_is_survived(kind: NatKind) -> None:
    pair = Pair(kind, NatKind.PORT_RESTRICTED, seed=1, careful=False)
    pair.talk(10, until_direct=True)
    assert pair.direct


@pytest.mark.parametrize("seed", range(4))
def test_a_router_that_restarts_costs_seconds_and_the_session_goes_on(seed: int) -> None:
    pair = Pair(NatKind.PORT_RESTRICTED, NatKind.PORT_RESTRICTED, seed)
    pair.talk(5, until_direct=True)
    pair.net.nats.of[pair.a.endpoint[0]].restart()
    pair.talk(2)
    arrived = len(pair.b.card)
    pair.talk(1)
    assert len(pair.b.card) > arrived, "after two seconds frames arrive again, whichever way"
    (path,) = [path for path in pair.b.machine.sessions[pair.a.id].paths if path.endpoint[1] == 5741]
    assert path.state is State.LIVE, "by the new mapping, long before the next rendezvous would have been"


def test_a_mapping_that_lives_for_20_s_is_kept_by_an_idle_pair() -> None:
    pair = Pair(NatKind.PORT_RESTRICTED, NatKind.PORT_RESTRICTED, seed=1)
    for box in pair.net.nats.of.values():
        box.lifetime = 20.0
    pair.talk(5, until_direct=True)
    assert pair.direct
    pair.net.run(120)
    pair.talk(1)
    pair.net.run(1)
    assert pair.direct
    assert pair.lost() == 0


def test_a_dead_direct_path_costs_under_two_seconds_and_another_is_found_when_there_is_one() -> None:
    pair = Pair(NatKind.PORT_RESTRICTED, NatKind.PORT_RESTRICTED, seed=1)
    pair.talk(5, until_direct=True)
    homes = {"203.0.113.10", "203.0.113.20"}
    pair.net.passes = lambda source, target: {source[0], target[0]} != homes
    pair.talk(8)
    assert not pair.direct
    assert pair.lost() <= 2 * 2.0 / 0.05
    lost = pair.lost()
    pair.net.passes = lambda source, target: True
    pair.talk(40, until_direct=True)
    assert pair.direct
    pair.talk(2)
    pair.net.run(1)
    assert pair.lost() <= lost, "nothing more on the way back"


def test_another_outer_address_is_told_at_once() -> None:
    pair = Pair(NatKind.PORT_RESTRICTED, NatKind.PORT_RESTRICTED, seed=1)
    homes = {"203.0.113.10", "203.0.113.20"}
    pair.net.passes = lambda source, target: {source[0], target[0]} != homes
    pair.talk(3)
    assert not pair.direct
    before = pair.net.offers
    pair.net.nats.of[pair.a.endpoint[0]].restart()
    pair.talk(4)
    assert pair.a.machine.counters["outer_address_changed"] > 0
    assert pair.net.offers > before
    offer = pair.a.offer()
    assert offer is not None
    assert offer.outer == ("203.0.113.10", 5741)
