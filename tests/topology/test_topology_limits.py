"""What one neighbour's greetings may cost a node: attempts at links, and tables of routes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice, pairwise

import pytest

from benchmarks.overlay_net.thin import Network, Node
from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.attempts import AT_ONCE, OF_ONE
from ipop_modules.topology.protocol.effects import Connect, Effect, Routes, Send, Source
from ipop_modules.topology.protocol.longlinks import SPARE
from ipop_modules.topology.protocol.machine import HELLOS_A_SECOND, HELLOS_AT_ONCE, JOINS_A_SECOND, JOINS_AT_ONCE
from ipop_modules.topology.protocol.messages import Full, Hello, Join, decode, encode
from ipop_modules.topology.protocol.sharing import GAP
from tests.topology.rings import ring

MEMBER = Hello(member=True, life=1, near=(), ask=False)


@pytest.fixture
def network() -> Network:
    return Network(1)


@pytest.fixture
def node(network: Network) -> Node:
    return ring(network, 16)[5]


def strangers(network: Network, node: Node, number: int) -> list[bytes]:
    """Members that have links to this node and are not next to it."""
    far = ids.number(node.id) + ids.HALF
    links = [ids.from_number(far + step) for step in range(number)]
    for link in links:
        node.machine.link_up(link, network.now)
        say(node, link, MEMBER, network.now)
    return links


def say(node: Node, sender: bytes, hello: Hello, now: float) -> list[Effect]:
    return node.machine.receive(encode(hello), Source(sender, True, sender), now)


def nearer(node: Node) -> Iterator[bytes]:
    """Ids that nobody has, each nearer to this node than the one before."""
    at = ids.number(node.id)
    gap = min(ids.distance(node.id, other) for other in node.machine.ring.near)
    for step in count():
        yield from (ids.from_number(at + side * (gap // 2 - step)) for side in (1, -1))


def tried(effects: list[Effect]) -> list[bytes]:
    return [effect.node for effect in effects if isinstance(effect, Connect)]


def test_names_that_one_neighbour_makes_up_are_tried_a_few_at_once_and_others_names_all_the_same(
    network: Network, node: Node
) -> None:
    honest, *liars = strangers(network, node, 8)
    made_up, attempts = nearer(node), list[int]()
    for liar in liars:
        attempts.append(0)
        for order in range(int(HELLOS_AT_ONCE) - 1):
            near = tuple(next(made_up) for _ in range(8))
            attempts[-1] += len(tried(say(node, liar, Hello(True, 1, near, False, order=order), network.now)))
        if liar == liars[0]:
            newcomer = next(made_up)
            hello = Hello(True, 1, (newcomer,), False, order=1)
            assert tried(say(node, honest, hello, network.now)) == [newcomer]
    assert attempts[0] == OF_ONE
    assert sum(attempts) == AT_ONCE - 1
    assert node.machine.hellos.refused == 0


def test_names_that_are_not_tried_crowd_out_nobody_who_is_farther_away(network: Network, node: Node) -> None:
    """All that one neighbour may have tried lie on one side, so that its names on the other one wait."""
    honest, liar = strangers(network, node, 2)
    made_up = list(islice(nearer(node), 24))
    after, (*newcomers, one, other) = made_up[::2], made_up[1:8:2]
    lists = [*zip(after[::2], after[1::2], strict=True)][: OF_ONE // 2]
    said = [Hello(True, 1, near, False, order=order) for order, near in enumerate([*lists, (one, other)])]
    assert [len(tried(say(node, liar, hello, network.now))) for hello in said] == [2, 2, 2, 2, 0]
    assert set(tried(say(node, honest, Hello(True, 1, tuple(newcomers), False), network.now))) == set(newcomers)


def test_an_attempt_that_ends_makes_room_for_the_next_name(network: Network, node: Node) -> None:
    (liar,) = strangers(network, node, 1)
    made_up, under_way = nearer(node), list[bytes]()
    for order in range(8):
        near = tuple(next(made_up) for _ in range(8))
        under_way += tried(say(node, liar, Hello(True, 1, near, False, order=order), network.now))
    assert len(under_way) == OF_ONE
    ends = [tried(node.machine.connect_failed(other, "near", network.now)) for other in under_way]
    assert all(len(begun) <= 1 for begun in ends)
    assert any(ends)


def test_a_neighbour_that_greets_all_the_time_is_heard_so_often_a_second(network: Network, node: Node) -> None:
    (noisy, other) = strangers(network, node, 2)
    answers, before = 0, node.machine.hellos.refused
    for order in range(1000):
        now = network.now + order / 1000
        answers += len(say(node, noisy, Hello(True, 1, (), True, order=order), now)) > 0
    assert answers <= HELLOS_AT_ONCE + HELLOS_A_SECOND
    assert node.machine.hellos.refused - before == 1000 - answers
    assert say(node, other, Hello(True, 1, (), True, order=1), network.now + 1.0), "others are heard all the same"


def test_who_is_in_the_ring_and_out_of_it_again_brings_few_tables(network: Network, node: Node) -> None:
    (fickle,) = strangers(network, node, 1)
    node.machine.wake(network.now + 6.0)
    start, tables = network.now + 6.0, list[tuple[float, Routes]]()
    for order in range(18):
        now = start + order * GAP / 6
        effects = say(node, fickle, Hello(order % 2 == 1, 1, (), False, order=order), now)
        if node.machine.next_wake() <= now:
            effects += node.machine.wake(now)
        tables += [(now, effect) for effect in effects if isinstance(effect, Routes)]
    times = [at for at, _ in tables]
    assert all(later - earlier >= 0.99 * GAP for earlier, later in pairwise(times))
    effects = [*say(node, fickle, Hello(False, 1, (), False, order=99), now), *node.machine.wake(now + GAP)]
    tables += [(now, effect) for effect in effects if isinstance(effect, Routes)]
    assert fickle not in tables[-1][1].hops, "the last word comes through"


def test_links_of_its_own_are_in_the_table_at_once_and_out_of_it(network: Network, node: Node) -> None:
    def next_hops(effects: list[Effect]) -> list[set[bytes]]:
        return [{*effect.hops} for effect in effects if isinstance(effect, Routes)]

    for number in range(5):
        link = ids.from_number(ids.number(node.id) + ids.HALF + number)
        node.machine.link_up(link, network.now)
        (table,) = next_hops(say(node, link, MEMBER, network.now))
        assert link in table
        (table,) = next_hops(node.machine.link_down(link, network.now))
        assert link not in table


def test_long_links_that_stay_though_they_are_too_many_send_nobody_away_who_was_there_before(
    network: Network, node: Node
) -> None:
    def is_sent_away(link: bytes, order: int, at: float) -> bool:
        effects = say(node, link, Hello(True, 1, (), False, long=True, order=order), at)
        return any(isinstance(effect, Send) and isinstance(decode(effect.payload), Full) for effect in effects)

    links = strangers(network, node, SPARE + 1 + 12)
    # The newest link is wanted as a long one first.
    came = [links[-1], *links[:-1]]
    for order in (1, 2):
        away = [is_sent_away(link, order, network.now + number / 100) for number, link in enumerate(came)]
        assert away == [False] * (SPARE + 1) + [True] * 12


def test_of_one_neighbour_so_many_joins_are_passed_on(network: Network, node: Node) -> None:
    (noisy, other) = strangers(network, node, 2)

    def joined(link: bytes, now: float) -> bool:
        asker = ids.from_number(ids.number(node.id) + 1)
        return bool(node.machine.receive(encode(Join(1, asker, link, 1)), Source(link, True, link), now))

    assert node.machine.joins.refused == 0
    passed = sum(joined(noisy, network.now + step / 1000) for step in range(1000))
    assert passed <= JOINS_AT_ONCE + JOINS_A_SECOND
    assert node.machine.joins.refused == 1000 - passed
    assert joined(other, network.now + 1.0), "others' are passed on all the same"
    assert joined(noisy, network.now + 2.0), "and later its own again"
