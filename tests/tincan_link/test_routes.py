"""The next hop against a search through the whole table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol.routes import RING, Routes, distance

# Few ids, some of them around the ring's seam, so that equal and opposite ones are met.
ids = st.one_of(st.integers(0, 9), st.integers(RING - 9, RING - 1), st.integers(RING // 2 - 2, RING // 2 + 2)).map(
    lambda number: number.to_bytes(20)
)


def number(node: bytes) -> int:
    return int.from_bytes(node)


def nearest(own: bytes, table: dict[bytes, bytes], usable: set[bytes], to: bytes, *, member: bool) -> set[bytes]:
    """All next hops that are as good as can be: nodes at the same distance on both sides are."""
    gaps = {node: distance(number(node), number(to)) for node, hop in table.items() if hop in usable and node != own}
    if member:
        gaps = {node: gap for node, gap in gaps.items() if gap < distance(number(own), number(to))}
    return {table[node] for node, gap in gaps.items() if gap == min(gaps.values())}


@given(ids, st.dictionaries(ids, ids, max_size=12), st.sets(ids), ids, st.booleans(), st.data())
def test_the_next_hop_is_towards_the_nearest_usable_node(
    own: bytes, table: dict[bytes, bytes], others: set[bytes], to: bytes, member: bool, data: st.DataObject
) -> None:
    usable = others | set(data.draw(st.lists(st.sampled_from(sorted(table.values()))) if table else st.just([])))
    routes = Routes(own)
    routes.replace(table.items(), member=member)
    best = nearest(own, table, usable, to, member=member)
    hop = routes.towards(to, usable.__contains__)
    assert hop in best if best else hop is None


@given(ids, ids)
def test_distance_is_the_shorter_way_round(a: bytes, b: bytes) -> None:
    assert distance(number(a), number(b)) == distance(number(b), number(a)) <= RING // 2
    assert (number(a) + distance(number(a), number(b))) % RING == number(b) or (
        number(b) + distance(number(a), number(b))
    ) % RING == number(a)


def test_a_node_that_is_just_as_far_is_no_step_towards() -> None:
    own, other, between = (n.to_bytes(20) for n in (10, 20, 15))
    routes = Routes(own)
    routes.replace([(other, other)], member=True)
    assert routes.towards(between, lambda node: True) is None
    assert routes.towards((16).to_bytes(20), lambda node: True) == other
