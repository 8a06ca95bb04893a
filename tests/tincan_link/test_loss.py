"""Loss reports and the size of blocks."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol.loss import LATELY, MOST_DATAGRAMS, REPORT_BLOCKS, BlockSizer, LossMeter
from ipop_modules.tincan.link.protocol.repairing import Repairing


class State(NamedTuple):
    limit: int
    repairs: bool


def run(
    loss: float,
    seconds: float,
    *,
    reorder: int = 0,
    overflow: bool = False,
    able: bool = False,
    burst: int = 1,
    seed: int = 1,
) -> tuple[list[State], float]:
    """What a sender comes to, a report each quarter of a second, 2,000 datagrams a second; the part of blocks lost.

    Datagrams are lost `burst` in a row. A receiver that is `able` repairs what lacks one datagram.
    """
    print(f"seed {seed}")
    chance = random.Random(seed)
    meter, sizer = LossMeter(0.0), BlockSizer(0.0)
    states, now, number, datagrams, dropped, lost, losing = [], 0.0, 0, 0, 0, 0, 0
    late: list[tuple[int, int]] = []
    while now < seconds:
        size = min(sizer.limit, 46)
        is_repaired = sizer.repairs and size > 1
        missing = 0
        for _ in range(size + is_repaired):
            losing = losing - 1 if losing else burst * (chance.random() < loss / burst)
            missing += losing > 0
        datagrams += size + is_repaired
        now += size / 2000
        if missing > (able and is_repaired):
            dropped += overflow
            lost += 1
        else:
            if missing:
                meter.was_mended(number)
            late.append((number + chance.randrange(reorder + 1), number))
        number += 1
        sizer.unreported(number, now)
        late.sort()
        while late and late[0][0] <= number:
            if meter.received(late.pop(0)[1], now):
                sizer.reported(meter.report(dropped, now), (number, datagrams), now)
                states.append(State(sizer.limit, sizer.repairs))
    return states, lost / number


def limits(states: list[State]) -> list[int]:
    return [state.limit for state in states]


def test_a_clean_path_keeps_large_blocks() -> None:
    assert set(limits(run(0.0, 20)[0])) == {MOST_DATAGRAMS}


def test_reordering_alone_does_not_look_like_loss() -> None:
    assert set(limits(run(0.0, 20, reorder=6)[0])) == {MOST_DATAGRAMS}


def test_a_lossy_path_gets_small_blocks() -> None:
    settled = limits(run(0.01, 60)[0])[-40:]
    assert 1 <= sum(settled) / len(settled) <= 6


def test_a_very_lossy_path_gets_one_datagram_a_block() -> None:
    assert run(0.2, 30)[0][-1].limit == 1


def test_a_hardly_lossy_path_keeps_large_blocks_most_of_the_time() -> None:
    settled = limits(run(0.0001, 120)[0])[-200:]
    assert sum(limit >= 30 for limit in settled) > 100


def test_a_clean_path_is_soon_not_repaired_any_more() -> None:
    states, _ = run(0.0, 20)
    assert states[3].repairs
    assert not states[-1].repairs


@pytest.mark.parametrize(("loss", "least"), [(0.01, 6), (0.003, 20), (0.001, 40)])
def test_repaired_blocks_may_be_larger_and_fewer_are_lost(loss: float, least: int) -> None:
    states, lost = run(loss, 120, able=True)
    assert all(state.repairs for state in states)
    assert min(limits(states[40:])) >= least
    assert lost < 0.01


def test_a_path_that_was_clean_for_long_and_begins_to_lose_is_soon_repaired() -> None:
    sizer, counted, missing = BlockSizer(0.0), 0, 0
    for step in range(1, 100):
        counted += 10_000
        sizer.reported((counted, 0, 0), (counted, counted * 40), step / 4)
    assert not sizer.repairs
    counted += 10_000
    sizer.reported((counted, 100, 0), (counted, counted * 40), 25.0)
    assert not sizer.repairs, "a few of so many"
    for step in range(1, 4):
        counted, missing = counted + 100, missing + 30
        sizer.reported((counted, 100 + missing, 0), (counted, counted * 40), 25 + step / 4)
    assert sizer.repairs


def test_what_is_repaired_stays_so_down_to_half_of_the_loss_that_began_it() -> None:
    repairing, now = Repairing(0.0), 0.0

    def lose(one_of: int) -> bool:
        nonlocal now
        for _ in range(40):
            now += 0.25
            repairing.observed(one_of, 1, 0, one_of, now)
        return repairing.wanted

    assert lose(3000)
    assert not lose(6000)
    assert not lose(3000)
    assert lose(1000)
    assert lose(3000)


@pytest.mark.parametrize(("rate", "part"), [(2_000, 0.1), (20_000, 0.2)])
def test_a_clean_path_that_suddenly_loses_much_gets_small_blocks_soon(rate: int, part: float) -> None:
    chance, sizer, meter = random.Random(1), BlockSizer(0.0), LossMeter(0.0)
    now, number, datagrams, since = 0.0, 0, 0, 0.0
    while now < 45.0:
        loss = part if now >= 40.0 else 0.0
        size = min(sizer.limit, 46)
        is_repaired = sizer.repairs and size > 1
        datagrams += size + is_repaired
        now += (size + is_repaired) / rate
        missing = sum(chance.random() < loss for _ in range(size + is_repaired))
        if missing <= is_repaired:
            if missing:
                meter.was_mended(number)
            if meter.received(number, now):
                sizer.reported(meter.report(0, now), (number + 1, datagrams), now)
        number += 1
        sizer.unreported(number, now)
        since = now if size > 8 else since
    assert since < 44.0


def test_silence_does_not_make_the_next_report_one_of_huge_blocks() -> None:
    sizer = BlockSizer(0.0)
    sizer.reported((100, 0, 0), (100, 4600), 1.0)
    assert sizer.unreported(200, 3.0)
    assert not sizer.unreported(210, 4.5), "not for the same blocks"
    before = sizer._datagrams
    sizer.reported((200, 99, 0), (201, 9246), 4.6)
    assert sizer._datagrams - before < 100 * 64


def test_what_is_lost_over_the_overlay_says_nothing_of_repairing() -> None:
    sizer = BlockSizer(0.0)
    for step in range(1, 100):
        sizer.reported((step * 1000, step * 100, 0), (step * 1000, step * 3000), float(step), is_direct=False)
    assert sizer.limit == 1
    assert sizer._repairing.part == Repairing(0.0).part
    sizer.reported((101_000, 9900, 10), (101_000, 303_000), 110.0)
    assert sizer.repairs


def test_so_many_mended_blocks_are_remembered_and_no_more() -> None:
    meter = LossMeter(0.0)
    for number in range(10 * LATELY):
        meter.was_mended(number)
    assert list(meter.mended) == list(range(9 * LATELY, 10 * LATELY))


def test_a_slow_flow_that_loses_nothing_is_not_repaired_for_ever() -> None:
    repairing = Repairing(0.0)
    for second in range(600):
        repairing.observed(16, 0, 0, 20, float(second))
    assert not repairing.wanted


@pytest.mark.parametrize(("loss", "burst"), [(0.2, 1), (0.02, 5)])
def test_where_most_losses_are_too_much_nothing_is_repaired(loss: float, burst: int) -> None:
    states, _ = run(loss, 60, able=True, burst=burst)
    assert sum(state.repairs for state in states[20:]) < len(states) / 4


def test_what_our_own_socket_dropped_is_forgiven() -> None:
    assert set(limits(run(0.002, 20, overflow=True)[0])) == {MOST_DATAGRAMS}


def test_one_datagram_without_room_forgives_one_block() -> None:
    meter = LossMeter(0.0)
    for number in (0, 100):
        meter.received(number, 0.0)
    meter.report(0, 1.0)
    assert meter.report(1, 2.0) == (101, 98, 0)


@pytest.mark.parametrize(("reports_before", "missing"), [(0, 59), (1, 98)])
def test_how_many_blocks_come_together_is_remembered_from_one_report_to_the_next(
    reports_before: int, missing: int
) -> None:
    meter = LossMeter(0.0)
    meter.came_together(40)
    for _ in range(reports_before):
        meter.report(0, 1.0)
    for number in (0, 100):
        meter.received(number, 0.0)
    meter.report(0, 1.0)
    assert meter.report(1, 2.0) == (101, missing, 0)


def test_blocks_grow_again_when_the_loss_ends() -> None:
    sizer = BlockSizer(0.0)
    sizer.reported((1000, 300, 0), (1000, 10_000), 1.0)
    assert sizer.limit == 1
    now, counted = 1.0, 1000
    while sizer.limit < MOST_DATAGRAMS:
        now += 0.25
        counted += 500
        sizer.reported((counted, 300, 0), (counted, counted * 10), now)
    assert now < 25


def test_a_report_does_not_call_for_another() -> None:
    meter = LossMeter(0.0)
    assert not any(meter.received(number, 10.0) for number in range(REPORT_BLOCKS - 1))
    assert meter.received(REPORT_BLOCKS - 1, 10.0)


def test_fresh_keys_know_what_the_path_loses() -> None:
    before = BlockSizer(0.0)
    before.reported((1000, 10, 0), (1000, 3000), 1.0)
    assert before.limit == 3
    fresh = BlockSizer(2.0, before, (1500, 4500))
    assert fresh.limit == 3
    assert not fresh.unreported(1501, 3.5), "what went under other keys is not missed"
    fresh.reported((100, 0, 0), (1600, 4800), 2.3)
    assert fresh.limit <= 8


def test_fresh_keys_know_whether_the_path_is_repaired() -> None:
    before = BlockSizer(0.0)
    before.reported((100_000, 0, 0), (100_000, 100_000), 1.0)
    fresh = BlockSizer(2.0, before, (100_000, 100_000))
    assert not before.repairs
    assert not fresh.repairs
    fresh.reported((1000, 0, 0), (101_000, 101_000), 3.0)
    assert not fresh.repairs


def test_a_gap_in_a_light_flow_is_reported_twice_and_then_no_more() -> None:
    meter = LossMeter(0.0)
    reports = []
    for number in (number for number in range(30) if number != 5):
        if meter.received(number, float(number)):
            reports.append((number, *meter.report(0, float(number))))
    assert reports == [(6, 0, 0, 0), (7, 7, 1, 0), (23, 8, 1, 0)]


def test_a_gap_says_nothing_of_large_blocks() -> None:
    sizer = BlockSizer(0.0)
    assert sizer.reported((2, 1, 0), (2, 2), 1.0) == 0.5
    assert sizer.limit == MOST_DATAGRAMS


FIGURE = st.integers(0, 2**62)


@given(st.lists(st.tuples(FIGURE, FIGURE, FIGURE), max_size=30))
@example([(1, 1, 0), *[(2**62, 1, 0)] * 2100, (2**62 + 2**61, 1, 2**62)])
def test_hostile_reports_keep_the_limit_in_its_range(reports: list[tuple[int, int, int]]) -> None:
    sizer = BlockSizer(0.0)
    for index, (counted, missing, mended) in enumerate(reports):
        assert 0 <= sizer.reported((counted, missing, mended), (index, index * 3), float(index)) <= 1
        assert 1 <= sizer.limit <= MOST_DATAGRAMS


def test_a_train_of_many_blocks_that_finds_no_room_is_counted_once_and_forgiven_whole() -> None:
    meter, number, overflow, reports = LossMeter(0.0), 0, 0, []
    for turn in range(400):
        blocks = range(number, number := number + 40)
        if turn % 5 == 4:
            overflow += 1
            continue
        meter.came_together(len(blocks))
        reports += [meter.report(overflow, turn / 50) for block in blocks if meter.received(block, turn / 50)]
    assert len(reports) > 20
    assert all(missing == 0 for _, missing, _ in reports)


def test_a_path_that_loses_blocks_of_trains_is_not_forgiven_without_an_overflow() -> None:
    meter, reports = LossMeter(0.0), []
    for turn in range(100):
        meter.came_together(40)
        for block in range(40 * turn, 40 * turn + 36):
            if meter.received(block, turn / 50):
                reports.append(meter.report(0, turn / 50))
    counted, missing, _ = reports[-1]
    assert missing > counted / 20
