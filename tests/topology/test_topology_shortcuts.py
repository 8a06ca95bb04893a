from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

from ipop_modules.topology.protocol.effects import Connect, Effect, Release, Weigh
from ipop_modules.topology.protocol.outbox import Outbox
from ipop_modules.topology.protocol.shortcuts import (
    AGAIN,
    COMPARED,
    HELD,
    LEAST,
    LEAVING,
    LONGEST,
    MAX_ASKING,
    MAX_FAILED,
    TIMES,
    WEIGH_EVERY,
    Shortcuts,
)

NODES = [bytes([n]) * 20 for n in range(10)]


def shortcuts(cap: int, seed: int = 1) -> tuple[Shortcuts, Outbox]:
    out = Outbox(bytes(20), lambda _: False, lambda _: False)
    return Shortcuts(out, cap, random.Random(seed).randbytes), out


def test_demand_asks_once_and_idle_lets_go() -> None:
    made, out = shortcuts(4)
    for _ in range(3):
        made.demand(NODES[0], 0.0)
    assert out.drain() == [Connect(NODES[0], None, "shortcut")]
    made.idle(NODES[0])
    made.idle(NODES[0])
    assert out.drain() == [Release(NODES[0], "shortcut")]
    made.demand(NODES[0], 0.0)
    assert out.drain() == [Connect(NODES[0], None, "shortcut")]


def test_the_cap_holds_and_a_failed_one_makes_room() -> None:
    made, out = shortcuts(4)
    for node in NODES:
        made.demand(node, 0.0)
    assert len(made) == 4
    assert [effect.node for effect in out.drain() if isinstance(effect, Connect)] == NODES[:4]
    made.failed(NODES[0])
    made.demand(NODES[9], 0.0)
    assert out.drain() == [Release(NODES[0], "shortcut"), Connect(NODES[9], None, "shortcut")]


def test_a_restarted_link_module_is_asked_again_for_what_it_forgot() -> None:
    made, out = shortcuts(4)
    made.demand(NODES[0], 0.0)
    made.demand(NODES[1], 0.0)
    out.drain()
    made.relink([NODES[1], NODES[2]], NODES[1:3], 0.0)
    assert out.drain() == [Connect(NODES[0], None, "shortcut")]
    assert len(made) == 3


class Street:
    """A node whose peers get so many bytes a second each; those without a shortcut ask for one every two seconds."""

    def __init__(self, cap: int) -> None:
        self.made, self.out = shortcuts(cap)
        self.now = 0.0
        self.sent: Counter[bytes] = Counter()
        self.moves: list[Effect] = []

    def run(self, seconds: float, rates: Mapping[bytes, float]) -> None:
        for _ in range(int(seconds / 2)):
            self.now += 2.0
            for node, rate in rates.items():
                self.sent[node] += int(2 * rate)
                self.made.demand(node, self.now)
            effects = self.out.drain()
            if Weigh() in effects:
                effects.remove(Weigh())
                self.made.weigh(self.sent, self.now)
            self.moves += [*effects, *self.out.drain()]

    @property
    def given(self) -> set[bytes]:
        return {node for node in NODES if node in self.made}


def test_at_the_cap_the_idlest_gives_way_to_one_that_gets_far_more() -> None:
    street = Street(3)
    street.run(HELD, {NODES[0]: 5e4, NODES[1]: 2e3, NODES[2]: 1e5})
    assert street.given == set(NODES[:3])
    street.run(2 * WEIGH_EVERY + 4, {NODES[0]: 5e4, NODES[1]: 2e3, NODES[2]: 1e5, NODES[3]: 1e5})
    assert street.given == {NODES[0], NODES[2], NODES[3]}
    assert street.moves[-2:] == [Release(NODES[1], "shortcut"), Connect(NODES[3], None, "shortcut")]
    assert street.made.displaced == 1


def test_who_gets_little_or_hardly_more_or_asks_no_more_takes_nobodys_place() -> None:
    for rate in (LEAST / 2, 1.9 * 3e3):
        street = Street(1)
        street.run(HELD, {NODES[0]: 3e3 if rate > LEAST else 0.0})
        street.run(10 * WEIGH_EVERY, {NODES[0]: 3e3 if rate > LEAST else 0.0, NODES[1]: rate})
        assert street.given == {NODES[0]}
    street = Street(1)
    street.run(HELD, {NODES[0]: 0.0})
    street.run(4, {NODES[0]: 0.0, NODES[1]: 1e6})
    street.run(10 * WEIGH_EVERY, {NODES[0]: 0.0, NODES[2]: 10.0})
    assert street.given == {NODES[0]}


def test_one_that_is_new_is_let_be_for_a_while() -> None:
    street = Street(1)
    street.run(2, {NODES[0]: 0.0})
    street.run(HELD - 2, {NODES[1]: 1e6})
    assert street.given == {NODES[0]}
    street.run(2 * WEIGH_EVERY, {NODES[1]: 1e6})
    assert street.given == {NODES[1]}


def test_peers_of_one_weight_do_not_take_turns() -> None:
    chance = random.Random(1)
    street = Street(2)
    for _ in range(300):
        street.run(4, {node: chance.uniform(1.05, TIMES) * 1e4 for node in NODES[:6]})
    assert street.made.displaced == 0


def test_whoever_has_peers_by_the_dozen_gets_few_links_beyond_the_cap() -> None:
    """Each sends more than those before, and those that gave way go on sending a little: their links stay up."""
    cap = 2 * LEAVING
    peers = [number.to_bytes(20, "big") for number in range(1, 200)]
    street = Street(cap)
    rates: dict[bytes, float] = {}
    for number, peer in enumerate(peers):
        rates[peer] = 1e3 * 1.1**number
        street.run(HELD if number < 2 * cap else 4, rates)
    linked = {effect.node for effect in street.moves if isinstance(effect, Connect)}
    assert len(street.made) == cap
    assert len(linked) == cap + cap // LEAVING
    gone = next(node for node in linked if node not in street.made)
    street.made.idle(gone)
    street.run(2 * WEIGH_EVERY, rates)
    assert street.made.displaced == cap // LEAVING + 1


def test_those_that_gave_way_and_lost_their_link_in_a_restart_are_waited_for_no_more() -> None:
    street = Street(1)
    street.run(HELD, {NODES[0]: 0.0})
    street.run(2 * WEIGH_EVERY + 4, {NODES[0]: 0.0, NODES[1]: 1e5})
    assert street.given == {NODES[1]}
    street.run(HELD + 2 * WEIGH_EVERY, {NODES[1]: 1e3, NODES[2]: 1e5})
    assert street.given == {NODES[1]}, "the first that gave way is still linked"
    street.made.relink([NODES[1]], [NODES[1]], street.now)
    street.run(2 * WEIGH_EVERY + 4, {NODES[1]: 1e3, NODES[2]: 1e5})
    assert street.given == {NODES[2]}


def test_of_those_that_find_no_room_so_many_are_remembered() -> None:
    made, _ = shortcuts(1)
    made.demand(NODES[0], 0.0)
    others = [number.to_bytes(20, "big") for number in range(1, MAX_ASKING + 2)]
    for node in others:
        made.demand(node, HELD)
    made.weigh(dict.fromkeys(others, 0), HELD)
    made.weigh({others[0]: 10**9, others[1]: 10**6}, HELD + 1)
    assert others[0] not in made, "it asked first"
    assert others[1] in made


def test_what_was_weighed_long_ago_is_compared_with_nothing() -> None:
    made, _ = shortcuts(1)
    made.demand(NODES[0], 0.0)
    made.demand(NODES[1], HELD)
    made.weigh({NODES[1]: 0}, HELD)
    late = HELD + COMPARED + 1
    made.demand(NODES[1], late)
    made.weigh({NODES[1]: 10**9}, late)
    assert NODES[1] not in made
    made.weigh({NODES[1]: 2 * 10**9}, late + 1)
    assert NODES[1] in made


def trials(made: Shortcuts, out: Outbox, node: bytes, until: float) -> list[float]:
    """When a shortcut to a peer that traffic asks for all the time, and that never answers, is tried."""
    times, failing_at = [], None
    for now in range(0, int(until), 2):
        if failing_at is not None and now >= failing_at:
            made.failed(node)
            failing_at = None
        made.demand(node, float(now))
        if any(isinstance(effect, Connect) for effect in out.drain()):
            times.append(float(now))
            failing_at = now + 6.0
    return times


def test_who_fails_is_tried_again_after_pauses_that_grow_and_differ() -> None:
    pauses = []
    for node in NODES[1:]:
        made, out = shortcuts(4, node[0])
        times = trials(made, out, node, 3600.0)
        pauses.append([later - earlier for earlier, later in pairwise(times)])
    for seen in pauses:
        assert 0.5 * AGAIN <= seen[0] <= 1.5 * AGAIN + 2
        assert min(seen[5:]) >= 0.5 * LONGEST
        assert max(seen) <= 1.5 * LONGEST + 2
    assert len({tuple(seen[:3]) for seen in pauses}) > len(NODES) // 2


def test_a_peer_that_was_linked_meanwhile_is_tried_at_once() -> None:
    linked: set[bytes] = set()
    out = Outbox(bytes(20), linked.__contains__, lambda _: False)
    made = Shortcuts(out, 4, random.Random(1).randbytes)
    for forgive in (linked.add, made.link_down, lambda node: made.relink([], [node], 2.0)):
        made.demand(NODES[1], 0.0)
        made.failed(NODES[1])
        out.drain()
        made.demand(NODES[1], 2.0)
        assert out.drain() == []
        forgive(NODES[1])
        made.demand(NODES[1], 2.0)
        assert out.drain() == [Connect(NODES[1], None, "shortcut")]
        linked.clear()
        made.idle(NODES[1])


def test_what_is_noted_of_peers_that_fail_is_bounded() -> None:
    made, _ = shortcuts(4)
    for number in range(2 * MAX_FAILED):
        node = number.to_bytes(20, "big")
        made.demand(node, 0.0)
        made.failed(node)
    assert len(made._failed) == MAX_FAILED
