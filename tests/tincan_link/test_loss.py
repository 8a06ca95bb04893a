"""Loss reports and the size of blocks."""

from __future__ import annotations

import random

from hypothesis import example, given
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol.loss import MOST_DATAGRAMS, REPORT_BLOCKS, BlockSizer, LossMeter


def run(loss: float, seconds: float, *, reorder: int = 0, overflow: bool = False, seed: int = 1) -> list[int]:
    """The limits that a sender comes to, a report each quarter of a second, 2,000 datagrams a second."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    meter, sizer = LossMeter(0.0), BlockSizer(0.0)
    limits, now, number, datagrams, dropped = [], 0.0, 0, 0, 0
    late: list[tuple[int, int]] = []
    while now < seconds:
        size = min(sizer.limit, 46)
        datagrams += size
        now += size / 2000
        if any(chance.random() < loss for _ in range(size)):
            dropped += overflow
        else:
            late.append((number + chance.randrange(reorder + 1), number))
        number += 1
        sizer.unreported(number, now)
        late.sort()
        while late and late[0][0] <= number:
            if meter.received(late.pop(0)[1], now):
                sizer.reported(*meter.report(dropped, now), (number, datagrams), now)
                limits.append(sizer.limit)
    return limits


def test_a_clean_path_keeps_large_blocks() -> None:
    assert set(run(0.0, 20)) == {MOST_DATAGRAMS}


def test_reordering_alone_does_not_look_like_loss() -> None:
    assert set(run(0.0, 20, reorder=6)) == {MOST_DATAGRAMS}


def test_a_lossy_path_gets_small_blocks() -> None:
    settled = run(0.01, 60)[-40:]
    assert 1 <= sum(settled) / len(settled) <= 6


def test_a_very_lossy_path_gets_one_datagram_a_block() -> None:
    assert run(0.2, 30)[-1] == 1


def test_a_hardly_lossy_path_keeps_large_blocks_most_of_the_time() -> None:
    settled = run(0.0001, 120)[-200:]
    assert sum(limit >= 30 for limit in settled) > 100


def test_what_our_own_socket_dropped_is_forgiven() -> None:
    assert set(run(0.002, 20, overflow=True)) == {MOST_DATAGRAMS}


def test_one_datagram_without_room_forgives_one_block() -> None:
    meter = LossMeter(0.0)
    for number in (0, 100):
        meter.received(number, 0.0)
    meter.report(0, 1.0)
    assert meter.report(1, 2.0) == (101, 98)


def test_blocks_grow_again_when_the_loss_ends() -> None:
    sizer = BlockSizer(0.0)
    sizer.reported(1000, 300, (1000, 10_000), 1.0)
    assert sizer.limit == 1
    now, counted = 1.0, 1000
    while sizer.limit < MOST_DATAGRAMS:
        now += 0.25
        counted += 500
        sizer.reported(counted, 300, (counted, counted * 10), now)
    assert now < 25


def test_a_report_does_not_call_for_another() -> None:
    meter = LossMeter(0.0)
    assert not any(meter.received(number, 10.0) for number in range(REPORT_BLOCKS - 1))
    assert meter.received(REPORT_BLOCKS - 1, 10.0)


def test_fresh_keys_know_what_the_path_loses() -> None:
    before = BlockSizer(0.0)
    before.reported(1000, 10, (1000, 3000), 1.0)
    assert before.limit == 3
    fresh = BlockSizer(2.0, before, (1500, 4500))
    assert fresh.limit == 3
    assert not fresh.unreported(1501, 3.5), "what went under other keys is not missed"
    fresh.reported(100, 0, (1600, 4800), 2.3)
    assert fresh.limit <= 8


def test_a_gap_in_a_light_flow_is_reported_twice_and_then_no_more() -> None:
    meter = LossMeter(0.0)
    reports = []
    for number in (number for number in range(30) if number != 5):
        if meter.received(number, float(number)):
            reports.append((number, *meter.report(0, float(number))))
    assert reports == [(6, 0, 0), (7, 7, 1), (23, 8, 1)]


def test_a_gap_says_nothing_of_large_blocks() -> None:
    sizer = BlockSizer(0.0)
    assert sizer.reported(2, 1, (2, 2), 1.0) == 0.5
    assert sizer.limit == MOST_DATAGRAMS


@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)), max_size=30))
@example([(1, 1), *[(2**62, 1)] * 2100, (2**62 + 2**61, 1)])
def test_hostile_reports_keep_the_limit_in_its_range(reports: list[tuple[int, int]]) -> None:
    sizer = BlockSizer(0.0)
    for index, (counted, missing) in enumerate(reports):
        assert 0 <= sizer.reported(counted, missing, (index, index * 3), float(index)) <= 1
        assert 1 <= sizer.limit <= MOST_DATAGRAMS
