"""Who should hold what lies under a key, by its definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.keepers import REPLICAS, SIDE, Keepers

NODES = st.sets(st.binary(min_size=ids.SIZE, max_size=ids.SIZE), min_size=REPLICAS + 1, max_size=12)


@given(NODES, st.data())
def test_the_nearest_member_and_those_on_both_sides_of_it_hold_a_key(nodes: set[bytes], data: st.DataObject) -> None:
    one, other = data.draw(st.sampled_from(sorted(nodes))), data.draw(st.sampled_from(sorted(nodes)))
    halfway = ids.number(one) + ids.clockwise(one, other) // 2
    key = ids.from_number(halfway + data.draw(st.integers(-1, 1)))
    forward, backward = ids.around(ids.closest(key, nodes) or b"", nodes)
    keepers = Keepers(nodes).of(key)
    assert keepers[:SIDE] == backward[:SIDE][::-1]
    assert keepers[SIDE] == ids.closest(key, nodes)
    assert keepers[SIDE + 1 :] == forward[:SIDE]


def test_halfway_between_two_members_the_lower_one_counts() -> None:
    nodes = [ids.from_number(ids.RING * at // 8) for at in range(8)]
    for at, node in enumerate(nodes):
        keepers = Keepers(nodes).of(ids.from_number(ids.number(node) + ids.RING // 16))
        assert keepers[SIDE] == min(node, nodes[at - 7])


@given(NODES)
def test_where_few_are_known_all_of_them_hold_everything(nodes: set[bytes]) -> None:
    few = sorted(nodes)[:REPLICAS]
    assert sorted(Keepers(few).of(few[0])) == few
