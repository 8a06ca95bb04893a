"""Homes that are not simply side by side: behind a carrier's router, behind one router, with UDP blocked in between."""

from __future__ import annotations

import random

import pytest

from ipop_core.lab.nat import NatKind
from ipop_core.simulated_nat import SimulatedNat
from tests.nat.streets import Pair

STRICT = NatKind.PORT_RESTRICTED


def router(kind: NatKind, public: str, *, hairpin: bool = False, carrier: SimulatedNat | None = None) -> SimulatedNat:
    return SimulatedNat(kind, public, random.Random(1), hairpin=hairpin, carrier=carrier)


def settle(pair: Pair) -> None:
    pair.talk(10, until_direct=True)
    pair.talk(2)
    pair.net.run(1)


@pytest.mark.parametrize("carrier", [NatKind.FULL_CONE, NatKind.ADDRESS_RESTRICTED, STRICT])
@pytest.mark.parametrize("other", [NatKind.OPEN, STRICT])
def test_a_home_behind_a_carriers_cone_is_reached(carrier: NatKind, other: NatKind) -> None:
    isp = router(carrier, "203.0.113.10")
    pair = Pair(router(STRICT, "100.64.0.2", carrier=isp), other, seed=1)
    settle(pair)
    assert pair.direct
    assert pair.lost() == 0


def test_a_home_behind_a_carriers_symmetric_router_is_reached_by_a_search() -> None:
    isp = router(NatKind.SYMMETRIC, "203.0.113.10")
    pair = Pair(router(STRICT, "100.64.0.2", carrier=isp), STRICT, seed=1)
    pair.talk(15, until_direct=True)
    assert pair.direct
    assert pair.lost() == 0


@pytest.mark.parametrize("hairpin", [True, False])
def test_two_homes_of_one_carrier_meet_where_it_turns_packets_round(hairpin: bool) -> None:
    isp = router(NatKind.FULL_CONE, "203.0.113.10", hairpin=hairpin)
    homes = [router(NatKind.FULL_CONE, f"100.64.0.{number}", carrier=isp) for number in (2, 3)]
    pair = Pair(homes[0], homes[1], seed=1)
    settle(pair)
    assert pair.direct is hairpin
    assert pair.lost() == 0


@pytest.mark.parametrize("kind", [STRICT, NatKind.SYMMETRIC])
def test_two_members_behind_one_router_meet_in_its_own_network(kind: NatKind) -> None:
    shared = router(kind, "203.0.113.10")
    pair = Pair(shared, shared, seed=1)
    settle(pair)
    assert pair.direct
    path = pair.a.machine.sessions[pair.b.id].paths.active
    assert path is not None
    assert path.endpoint == pair.b.endpoint
    assert pair.lost() == 0


def test_blocked_udp_between_two_leaves_the_relay() -> None:
    pair = Pair(NatKind.FULL_CONE, NatKind.FULL_CONE, seed=1)
    pair.net.nats.block("203.0.113.10", "203.0.113.20")
    settle(pair)
    assert not pair.direct
    assert pair.lost() == 0
