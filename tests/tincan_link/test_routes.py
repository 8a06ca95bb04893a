"""The next hop against a search through the whole table."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol.routes import RING, Routes, Step, distance

# Few ids, some of them around the ring's seam, so that equal and opposite ones are met.
ids = st.one_of(st.integers(0, 9), st.integers(RING - 9, RING - 1), st.integers(RING // 2 - 2, RING // 2 + 2)).map(
    lambda number: number.to_bytes(20)
)


def number(node: bytes) -> int:
    return int.from_bytes(node)


def best(own: bytes, table: dict[bytes, bytes], usable: set[bytes], to: bytes, *, member: bool) -> list[bytes]:
    """All known nodes that are as good as can be: nodes at the same distance on both sides are."""
    known = [node for node, hop in table.items() if node != own and (node in usable or hop in usable)]
    if not member:
        known = [node for node in known if table[node] == node and node in usable]
    gaps = {node: distance(number(node), number(to)) for node in known}
    if member:
        gaps = {node: gap for node, gap in gaps.items() if gap < distance(number(own), number(to))}
    return [node for node, gap in gaps.items() if gap == min(gaps.values())]


@given(ids, st.dictionaries(ids, ids, max_size=12), st.sets(ids), ids, st.booleans(), st.data())
def test_the_step_is_towards_the_nearest_node_that_can_be_reached(
    own: bytes, table: dict[bytes, bytes], others: set[bytes], to: bytes, member: bool, data: st.DataObject
) -> None:
    usable = others | set(data.draw(st.lists(st.sampled_from(sorted(table.values()))) if table else st.just([])))
    routes = Routes(own)
    routes.replace(table, member=member)
    wanted = best(own, table, usable, to, member=member)
    step = routes.step(to, usable.__contains__)
    if step is None:
        assert not wanted
    elif step.mark is None:
        assert step.following in wanted
    else:
        assert step.mark in wanted and step.mark not in usable and step.following == table[step.mark]


Tables = dict[bytes, dict[bytes, bytes]]


def walk(tables: Tables, links: dict[bytes, set[bytes]], start: bytes, to: bytes) -> list[tuple[bytes, Step]]:
    """A packet's way over nodes with these tables; fails when it is in one state twice."""
    here, mark, strict = start, None, False
    way: list[tuple[bytes, Step]] = []
    while here != to:
        routes = Routes(here)
        routes.replace(tables.get(here, {}), member=True)
        step = routes.step(to, links.get(here, set()).__contains__, mark, strict=strict)
        if step is None:
            break
        assert (here, step) not in way
        way.append((here, step))
        here, mark, strict = step.following, step.mark, step.strict
    return way


@given(
    st.dictionaries(ids, st.dictionaries(ids, ids, max_size=8), min_size=1, max_size=10),
    ids,
    st.data(),
)
def test_no_packet_circles_whatever_the_tables_hold(tables: Tables, to: bytes, data: st.DataObject) -> None:
    """Lists as stale as can be: any node is said to be behind any neighbour."""
    links = {node: {hop for hop in table.values() if hop != node} for node, table in tables.items()}
    start = data.draw(st.sampled_from(sorted(tables)))
    way = walk(tables, links, start, to)
    assert len(way) <= 3 * 40


def test_a_broken_promise_makes_the_packet_strict_and_a_kept_one_does_not() -> None:
    a, b, near, to, other = (n.to_bytes(20) for n in (0, 1000, 70, 64, 300))
    for kept in (True, False):
        tables = {a: {b: b, near: b}, b: {a: a, other: other, **({near: near} if kept else {})}, other: {b: b}}
        links = {a: {b}, b: {a, other} | ({near} if kept else set()), other: {b}}
        way = walk(tables, links, a, to)
        assert way[0] == (a, Step(b, near))
        assert way[1] == ((b, Step(near)) if kept else (b, Step(a, strict=True)))


def test_with_true_lists_every_node_is_reached_and_lookahead_takes_fewer_hops() -> None:
    chance = random.Random(1)
    nodes = sorted(chance.randbytes(20) for _ in range(200))
    links: dict[bytes, set[bytes]] = {node: set() for node in nodes}
    for at, node in enumerate(nodes):
        others = {nodes[(at + 1) % len(nodes)], nodes[(at + 2) % len(nodes)], *chance.sample(nodes, 3)} - {node}
        for other in others:
            links[node].add(other)
            links[other].add(node)
    direct = {node: {other: other for other in links[node]} for node in nodes}
    ahead: Tables = {node: {} for node in nodes}
    for node in nodes:
        for other in links[node]:
            ahead[node].update(dict.fromkeys(links[other] - {node}, other))
        ahead[node].update(direct[node])
    pairs = [chance.sample(nodes, 2) for _ in range(300)]
    hops = []
    for tables in (direct, ahead):
        ways = [walk(tables, links, start, to) for start, to in pairs]
        assert all(way[-1][1].following == to for way, (_, to) in zip(ways, pairs, strict=True))
        hops.append(sum(map(len, ways)) / len(ways))
    print(f"greedy {hops[0]:.2f} hops, with lookahead {hops[1]:.2f}")
    assert hops[1] < 0.8 * hops[0]


@given(ids, ids)
def test_distance_is_the_shorter_way_round(a: bytes, b: bytes) -> None:
    assert distance(number(a), number(b)) == distance(number(b), number(a)) <= RING // 2
    assert (number(a) + distance(number(a), number(b))) % RING == number(b) or (
        number(b) + distance(number(a), number(b))
    ) % RING == number(a)


def test_a_node_that_is_just_as_far_is_no_step_towards() -> None:
    own, other, between = (n.to_bytes(20) for n in (10, 20, 15))
    routes = Routes(own)
    routes.replace({other: other}, member=True)
    assert routes.step(between, lambda node: True) is None
    assert routes.step((16).to_bytes(20), lambda node: True) == Step(other)
