"""The search for a path's datagram size."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol.mtu import BASE, CLOSE_ENOUGH, COMMON, MtuSearch

from .net import Net
from .test_machine import frame, link, trust


def search(mtu: MtuSearch, passes: int, now: float, seconds: float) -> tuple[float, int]:
    """Run the search on a path that lets `passes` bytes pass; returns when it rested, and the probes that it took."""
    end, count = now + seconds, 0
    while mtu.next_wake <= end:
        now = max(now, mtu.next_wake)
        size = mtu.wake(now)
        if size is not None:
            count += 1
            if size <= passes:
                mtu.answered(size, now + 0.01)
    return now, count


@given(st.integers(BASE, 9000))
def test_the_search_ends_close_below_what_passes(passes: int) -> None:
    mtu = MtuSearch()
    mtu.wanted = True
    search(mtu, passes, 0.0, 60.0)
    assert mtu.size <= passes
    assert (passes - mtu.size) * CLOSE_ENOUGH <= passes or mtu.size >= COMMON[1]


@pytest.mark.parametrize("passes", [1472, 1452, 8952, 8972])
def test_common_links_take_few_probes(passes: int) -> None:
    mtu = MtuSearch()
    mtu.wanted = True
    rested, count = search(mtu, passes, 0.0, 30.0)
    print(f"{passes}: {mtu.size} after {rested:.2f} s, {count} probes")
    assert count <= 36


def rested(mtu: MtuSearch, passes: int, now: float, seconds: float, delay: Callable[[float], float | None]) -> float:
    """As `search`, on a path whose answers come after `delay`, or never."""
    end = now + seconds
    answers: list[tuple[float, int]] = []
    while (now := min([mtu.next_wake, *(at for at, _ in answers)])) <= end:
        if answers and answers[0][0] <= now:
            mtu.answered(answers.pop(0)[1], now)
        elif (size := mtu.wake(now)) is not None and size <= passes and (late := delay(now)) is not None:
            answers = sorted([*answers, (now + late, size)])
    return end


def test_a_path_with_long_round_trips_is_not_searched_over_and_over() -> None:
    mtu, now, probes = MtuSearch(), 0.0, 0
    answers: list[tuple[float, int]] = []
    while now < 4000.0:
        mtu.wanted = True
        now = max(now, min([mtu.next_wake, *(at for at, _ in answers)]))
        if answers and answers[0][0] <= now:
            mtu.answered(answers.pop(0)[1], now)
        elif (size := mtu.wake(now)) is not None:
            probes += 1
            if size <= COMMON[2]:
                answers.append((now + 2.0, size))
    print(f"{probes} probes, {mtu.size} bytes")
    assert probes < 600


def found(passes: int) -> MtuSearch:
    mtu = MtuSearch()
    mtu.wanted = True
    search(mtu, passes, 0.0, 30.0)
    return mtu


@pytest.mark.parametrize("seconds", [1.5, 3.0, 20.0, 100.0])
@pytest.mark.parametrize("delay", [1.7, 2.6, None], ids=["queue", "longer queue", "outage"])
@pytest.mark.parametrize("passes", [1472, 8952])
def test_a_path_that_is_slow_or_dead_for_a_while_has_its_size_again_soon(
    passes: int, seconds: float, delay: float | None
) -> None:
    mtu = found(passes)
    size, now = mtu.size, 100.0
    mtu.doubt(now)
    now = rested(mtu, passes, now, seconds, lambda _now: delay)
    for _ in range(75):
        mtu.wanted = True
        now = rested(mtu, passes, now, 1.0, lambda _now: 0.02)
    assert mtu.size == size


def test_after_a_long_outage_the_size_is_found_again_within_seconds() -> None:
    mtu = found(1472)
    mtu.doubt(100.0)
    now = rested(mtu, 1472, 100.0, 120.0, lambda _now: None)
    assert mtu.size == BASE
    mtu.wanted = True
    rested(mtu, 1472, now, 10.0, lambda _now: 0.02)
    assert mtu.size == 1472


def test_an_answer_that_came_late_ends_the_search_below_it() -> None:
    mtu = found(1472)
    mtu.doubt(100.0)
    rested(mtu, 1472, 100.0, 1.71, lambda _now: 1.7)
    assert mtu.size == 1472
    assert mtu.wake(101.71) is None


def test_a_size_that_was_never_probed_is_no_late_answer() -> None:
    mtu = found(1472)
    mtu.answered(1480, 100.0)
    mtu.answered(9000, 100.0)
    assert mtu.size == 1472


def test_a_path_that_carries_nothing_large_is_not_probed() -> None:
    mtu = MtuSearch()
    assert mtu.next_wake == inf
    assert mtu.wake(100.0) is None


def test_a_black_hole_is_noticed_when_everything_is_lost() -> None:
    mtu = MtuSearch()
    mtu.wanted = True
    search(mtu, 1452, 0.0, 30.0)
    assert mtu.size == 1452
    mtu.doubt(40.0)
    search(mtu, 1300, 40.0, 30.0)
    assert 1232 <= mtu.size <= 1300


def test_a_doubt_comes_before_the_search_for_more() -> None:
    mtu = MtuSearch()
    mtu.wanted = True
    now, _ = search(mtu, 1472, 0.0, 4.0)
    assert mtu.size == 1472
    assert mtu.wake(now + 0.5) not in {None, 1472}, "the search goes on"
    mtu.doubt(5.9)
    mtu.doubt(6.0)
    search(mtu, 1300, 6.0, 2.0)
    assert mtu.size < 1400


def test_a_doubt_that_is_unfounded_changes_nothing() -> None:
    mtu = MtuSearch()
    mtu.wanted = True
    search(mtu, 1452, 0.0, 30.0)
    mtu.doubt(40.0)
    search(mtu, 1452, 40.0, 5.0)
    assert mtu.size == 1452


def test_an_answer_that_nobody_asked_for_is_ignored() -> None:
    mtu = MtuSearch()
    mtu.answered(9000, 1.0)
    assert mtu.size == BASE


def test_a_size_that_the_own_card_refuses_is_left_at_once() -> None:
    mtu = MtuSearch()
    mtu.wanted = True
    search(mtu, 9000, 0.0, 10.0)
    assert mtu.size > 8000
    mtu.refused(10.0)
    assert mtu.size == BASE
    search(mtu, 1472, 10.0, 10.0)
    assert mtu.size == 1472


def test_a_path_that_leads_out_by_a_smaller_card_loses_one_block() -> None:
    net = Net(310)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, a, b)
    a.machine.want_member(b.id, net.now)
    net.run(0.5)
    trust(b, a)
    a.machine.send_card(b.id, frame(bytes(20_000)), net.now)
    net.run(3)
    path = a.machine.sessions[b.id].paths.active
    assert path is not None and path.mtu.size > 8000
    a.longest = 1472
    b.card.clear()
    for _ in range(2):
        a.machine.send_card(b.id, frame(bytes(20_000)), net.now)
        net.run(0.02)
    assert len(b.card) == 1
    net.run(5)
    assert path.mtu.size == 1472


def light_flow(net: Net, size: int, narrow: int) -> float:
    """How long a path that has become narrower carries nothing of a flow of one full-size frame a second."""
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, a, b)
    a.machine.want_member(b.id, net.now)
    net.run(0.5)
    trust(b, a)
    net.narrow = size
    full = frame(bytes(1514))
    for _ in range(40):
        a.machine.send_card(b.id, full * (1 + size // 1514), net.now)
        net.run(0.25)
    for _ in range(100):
        a.machine.send_card(b.id, full, net.now)
        net.run(1)
    path = a.machine.sessions[b.id].paths.active
    assert path is not None and path.mtu.size == size
    net.narrow, start = narrow, net.now
    b.card.clear()
    while not b.card and net.now < start + 70:
        a.machine.send_card(b.id, full, net.now)
        net.run(1)
    return net.now - start - 1


def test_a_black_hole_that_swallows_parts_of_a_light_flow_is_noticed_within_three_seconds() -> None:
    assert light_flow(Net(311), 1472, 1400) <= 3


def test_a_black_hole_that_swallows_a_light_flow_whole_is_noticed_soon() -> None:
    assert light_flow(Net(312), 8972, 1472) <= 8


def test_a_light_flow_that_loses_a_datagram_now_and_then_keeps_its_size() -> None:
    net = Net(313)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, a, b)
    a.machine.want_member(b.id, net.now)
    net.run(0.5)
    trust(b, a)
    net.narrow = 1472
    net.passes = lambda source, target: net.random.random() > 0.05
    sizes = []
    for _ in range(600):
        a.machine.send_card(b.id, frame(bytes(1514)), net.now)
        net.run(0.1)
        path = a.machine.sessions[b.id].paths.active
        sizes.append(0 if path is None else path.mtu.size)
    assert sizes[-1] == 1472
    assert sizes[200:].count(1472) > 350


@pytest.mark.timeout(10)
@pytest.mark.parametrize("longest", [1472, BASE - 100])
def test_sizes_that_the_own_card_refuses_cost_the_search_no_time(longest: int) -> None:
    net = Net(311)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, a, b)
    a.longest = longest
    a.machine.want_member(b.id, net.now)
    net.run(0.5)
    a.machine.send_card(b.id, frame(bytes(5_000)), net.now)
    path = a.machine.sessions[b.id].paths.active
    assert path is not None and path.mtu.size == BASE
    net.run(6 * net.delay)
    assert path.mtu.size == max(longest, BASE)
    assert (path.mtu.next_wake == inf) == (longest > BASE), "the search is over, or goes on without haste"
