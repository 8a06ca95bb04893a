from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.neighbourhood import estimate_size, near_targets, nearest_members

node_ids = st.binary(min_size=20, max_size=20)


def at(value: int) -> bytes:
    return ids.from_number(value)


@given(node_ids, node_ids)
def test_a_distance_is_the_same_from_both_ends_and_at_most_half_the_ring(one: bytes, other: bytes) -> None:
    assert ids.distance(one, other) == ids.distance(other, one) <= ids.RING // 2
    assert (ids.clockwise(one, other) + ids.clockwise(other, one)) % ids.RING == 0


def test_the_ring_wraps_around() -> None:
    assert ids.distance(at(-1), at(1)) == 2
    assert ids.clockwise(at(-1), at(1)) == 2
    assert ids.clockwise(at(1), at(-1)) == ids.RING - 2
    assert ids.between(at(-5), at(3), at(10))
    assert not ids.between(at(-5), at(-6), at(10))
    assert not ids.between(at(-5), at(-5), at(10))
    assert ids.between(at(7), at(8), at(7))
    assert ids.closest(at(2), [at(10), at(-3)]) == at(-3)
    assert ids.closest(at(2), []) is None


def test_near_targets_are_two_on_each_side_and_wrap_in_small_rings() -> None:
    ring = [at(n * 10) for n in range(1, 10)]
    assert set(near_targets(at(0), ring, lambda _: True)) == {at(10), at(20), at(80), at(90)}
    assert set(near_targets(at(0), ring[:3], lambda _: True)) == set(ring[:3])
    assert set(nearest_members(at(0), ring)) == {at(10), at(20), at(80), at(90)}
    assert near_targets(at(0), [], lambda _: True) == []


def test_nodes_that_cannot_be_counted_on_come_on_top_but_not_without_bound() -> None:
    ring = [at(n * 10) for n in range(1, 12)]
    doubtful = {at(10), at(20), at(30), at(40)}
    chosen = set(near_targets(at(0), ring, lambda node: node not in doubtful))
    assert chosen == {at(10), at(20), at(50), at(60), at(110), at(100)}


def test_the_size_is_exact_for_small_rings_and_near_for_large_ones() -> None:
    for size in range(1, 6):
        ring = [at(n * (ids.RING // size)) for n in range(size)]
        assert estimate_size(ring[0], nearest_members(ring[0], ring)) == size
    ring = [at(n * (ids.RING // 100)) for n in range(100)]
    assert estimate_size(ring[0], nearest_members(ring[0], ring)) == 100
