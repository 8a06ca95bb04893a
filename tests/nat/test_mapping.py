"""The kind of a NAT, from what peers see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol.mapping import FRESH, MAX_OBSERVERS, Address, Mapping, Nat, Observations

OWN = bytes([10, 77, 1, 2])
OUTER = bytes([203, 0, 113, 7])
PORT = 4741


def peer(number: int, port: int = 4741) -> Address:
    return bytes([198, 51, 100, number]), port


def seen(*ports: int, outer: bytes = OUTER) -> Nat:
    """What is made of these outer ports, seen by one peer each."""
    observations = Observations()
    for number, port in enumerate(ports):
        observations.add(peer(number + 1), (outer, port), float(number))
    return observations.nat(4, {OWN}, PORT, float(len(ports)))


@pytest.mark.parametrize(
    ("ports", "mapping", "preserves", "step"),
    [
        ((), Mapping.UNKNOWN, None, None),
        ((4741,), Mapping.UNKNOWN, True, None),
        ((4741, 4741, 4741), Mapping.INDEPENDENT, True, None),
        ((9000, 9000), Mapping.INDEPENDENT, False, None),
        ((4741, 4741, 51_234), Mapping.INDEPENDENT, False, None),
        ((31_111, 52_000, 18_000, 60_001), Mapping.DEPENDENT, False, None),
        ((40_000, 40_001, 40_002), Mapping.DEPENDENT, False, 1),
        ((40_000, 39_998, 39_996, 39_994), Mapping.DEPENDENT, False, -2),
        ((30_001, 30_004, 30_003, 30_009, 30_007), Mapping.DEPENDENT, False, 1),
        ((30_001, 30_002, 30_090, 30_091, 30_092), Mapping.DEPENDENT, False, 1),
        ((30_000, 30_004, 30_008, 30_006), Mapping.DEPENDENT, False, 2),
        ((30_000, 30_004, 52_000, 18_000, 60_001), Mapping.DEPENDENT, False, None),
    ],
)
def test_what_peers_see_tells_the_kind(
    ports: tuple[int, ...], mapping: Mapping, preserves: bool | None, step: int | None
) -> None:
    nat = seen(*ports)
    assert (nat.mapping, nat.step) == (mapping, step)
    assert nat.preserves_port is preserves


def test_the_next_ports_of_a_sequence_are_foreseen() -> None:
    assert seen(40_000, 40_001, 40_002).predicted()[:3] == [(OUTER, 40_003), (OUTER, 40_004), (OUTER, 40_005)]
    assert seen(40_000, 40_004, 40_002).predicted()[:1] == [(OUTER, 40_006)], "answers overtake each other"
    assert seen(34_094, 34_095, 30_000, 30_002, 30_001).predicted()[:1] == [(OUTER, 30_003)], "they begin anew"
    assert seen(65_531, 65_533, 65_535).predicted() == [], "there is no port 65537"
    assert seen(31_111, 52_000, 18_000).predicted() == []


def test_without_a_nat_peers_see_the_own_address() -> None:
    nat = seen(4741, 4741, outer=OWN)
    assert (nat.mapping, nat.outer) == (Mapping.NONE, (OWN, 4741))


def test_two_ports_of_one_host_that_see_the_same_while_hosts_differ_are_address_dependent() -> None:
    observations = Observations()
    observations.add(peer(1, 1), (OUTER, 5000), 0.0)
    observations.add(peer(1, 2), (OUTER, 5000), 0.0)
    observations.add(peer(2), (OUTER, 6000), 0.0)
    assert observations.nat(4, {OWN}, PORT, 0.0).mapping is Mapping.ADDRESS_DEPENDENT


def test_several_outer_addresses_are_a_pool() -> None:
    observations = Observations()
    observations.add(peer(1), (OUTER, 5000), 0.0)
    observations.add(peer(2), (bytes([203, 0, 113, 8]), 5000), 0.0)
    assert observations.nat(4, {OWN}, PORT, 0.0).pooled


def test_a_renewed_mapping_makes_what_others_saw_before_void() -> None:
    observations = Observations()
    for number in (1, 2, 3):
        observations.add(peer(number), (OUTER, 4741), 0.0)
    observations.add(peer(2), (OUTER, 5741), 1.0)
    assert observations.nat(4, {OWN}, PORT, 1.0).outer == (OUTER, 5741)
    assert observations.addresses(1.0) == [(OUTER, 5741)]


def test_old_observations_are_not_believed() -> None:
    observations = Observations()
    observations.add(peer(1), (OUTER, 4741), 0.0)
    assert observations.addresses(FRESH - 1) == [(OUTER, 4741)]
    assert observations.addresses(FRESH + 1) == []


def test_families_are_apart() -> None:
    observations = Observations()
    observations.add(peer(1), (OUTER, 4741), 0.0)
    observations.add((bytes(16), 4741), (bytes(15) + b"\1", 9), 0.0)
    assert observations.nat(4, {OWN}, PORT, 0.0).observers == 1
    assert observations.nat(16, {OWN}, PORT, 0.0).outer == (bytes(15) + b"\1", 9)


addresses = st.tuples(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16), st.integers(0, 65_535))


@given(st.lists(st.tuples(addresses, addresses, st.floats(0, 2000)), max_size=MAX_OBSERVERS + 10), st.floats(0, 2000))
def test_whatever_peers_say_there_is_an_answer_and_no_more_is_kept(
    told: list[tuple[Address, Address, float]], now: float
) -> None:
    observations = Observations()
    for at, where, when in told:
        observations.add(at, where, when)
    for size in (4, 16):
        nat = observations.nat(size, {OWN}, PORT, now)
        assert all(1024 <= port <= 65_535 for _, port in nat.predicted())
        assert nat.observers <= MAX_OBSERVERS
