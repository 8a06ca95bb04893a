from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol import joining
from ipop_modules.tincan.link.protocol.block import MAX_LAYOUTS, MAX_SEALED, MAX_SEND, Buffer, Cutter, batches
from ipop_modules.tincan.link.protocol.joining import (
    BLOCK_COST,
    CHUNK_COST,
    DEADLINE,
    Budget,
    Joiner,
    Run,
    Trains,
    read_runs,
)
from ipop_modules.tincan.link.protocol.wire import FRAGMENT_HEADER

RID = 2**63 + 9


def cut(sealed: bytes, rid: int, number: int, size: int, cutter: Cutter | None = None) -> list[Buffer]:
    cutter = cutter or Cutter()
    cutter.space[: len(sealed)] = sealed
    return cutter.cut(len(sealed), rid, number, size)


def datagrams(sealed: bytes, number: int = 7, size: int = 1400, rid: int = RID) -> list[bytes]:
    buffers = cut(sealed, rid, number, size)
    return [bytes(header) + bytes(piece) for header, piece in zip(buffers[::2], buffers[1::2], strict=True)]


def train(packets: Sequence[bytes]) -> tuple[memoryview, int]:
    """As UDP_GRO hands it over: equal datagrams, the last one may be shorter."""
    return memoryview(b"".join(packets)), len(packets[0])


def fragment(number: int, offset: int, total: int, piece: bytes, rid: int = RID) -> bytes:
    return FRAGMENT_HEADER.pack(5, rid, number, offset, total) + piece


def everything_is_new(number: int) -> bool:
    return True


def joiner(is_new: Callable[[int], bool] = everything_is_new, limit: int = 2**24, session: int = 2**22) -> Joiner:
    return Joiner(is_new, Budget(limit), session)


def feed(into: Joiner, packets: Iterable[bytes], now: float = 0.0) -> list[bytes]:
    """Each datagram on its own; what came out."""
    out = []
    for packet in packets:
        runs, others = read_runs(memoryview(packet), len(packet))
        assert not others
        out += [sealed for run in runs if (sealed := into.add(run, now)) is not None]
    return [bytes(sealed) for sealed in out]


# Cutting.


@given(st.integers(16, MAX_SEALED), st.integers(300, 9000))
def test_a_block_is_cut_into_equal_datagrams(length: int, size: int) -> None:
    sealed = bytes(range(256)) * (length // 256 + 1)
    sealed = sealed[:length]
    buffers = cut(sealed, RID, 7, size)
    sends = batches(buffers, size)
    assert [buffer for send in sends for buffer in send] == buffers
    for index, send in enumerate(sends):
        whole = b"".join(send)
        assert len(whole) <= MAX_SEND
        assert len(send) <= 2 * 64
        assert index == len(sends) - 1 or len(whole) % size == 0
    joined = b"".join(b"".join(send) for send in sends)
    packets = [joined[start : start + size] for start in range(0, len(joined), size)]
    for index, packet in enumerate(packets):
        offset = index * (size - 25)
        assert FRAGMENT_HEADER.unpack_from(packet) == (5, RID, 7, offset, length)
        assert packet[25:] == sealed[offset : offset + size - 25]


@pytest.mark.parametrize(
    ("length", "size", "sends"),
    [(1375, 1400, 1), (46 * 1375, 1400, 1), (46 * 1375 + 1, 1400, 2), (MAX_SEALED, 1400, 2), (64 * 475, 500, 1)],
)
def test_as_few_sends_as_possible(length: int, size: int, sends: int) -> None:
    assert len(batches(cut(bytes(length), RID, 7, size), size)) == sends


@given(st.lists(st.tuples(st.integers(16, MAX_SEALED), st.integers(300, 330)), min_size=1, max_size=MAX_LAYOUTS + 5))
def test_what_was_cut_before_leaves_no_trace(blocks: list[tuple[int, int]]) -> None:
    cutter = Cutter()
    for number, (length, size) in enumerate(blocks):
        sealed = os.urandom(length)
        packets = b"".join(cut(sealed, number + 1, number, size, cutter))
        assert packets == b"".join(datagrams(sealed, number, size, number + 1))


# Reading.


@given(st.integers(16, MAX_SEALED), st.integers(300, 1500), st.integers(0, 250), st.integers(1, 250))
def test_a_train_of_one_block_is_one_run(length: int, size: int, first: int, count: int) -> None:
    sealed = os.urandom(length)
    packets = datagrams(sealed, size=size)
    first = min(first, len(packets) - 1)
    some = packets[first : min(first + count, first + 65_535 // size)]
    runs, others = read_runs(*train(some))
    assert not others
    (run,) = runs
    assert (run.rid, run.number, run.total, run.offset) == (RID, 7, length, first * (size - 25))
    assert b"".join(run.pieces) == sealed[run.offset : run.offset + run.size]


def test_the_fast_and_the_slow_reading_agree() -> None:
    packets = datagrams(os.urandom(30_000))
    swapped = [packets[1], packets[0], *packets[2:]]
    foreign = [*packets[:3], fragment(8, 0, 5000, bytes(1375)), *packets[4:]]
    other_total = [*packets[:3], fragment(7, 3 * 1375, 30_001, bytes(1375)), *packets[4:]]
    other_kind = [*packets[:3], b"\x01" + packets[3][1:], *packets[4:]]
    all_of_another_kind = [b"\x01" + packet[1:] for packet in packets[:4]]
    next_of_another = [*packets[:3], fragment(8, 3 * 1375, 30_000, bytes(1375))]
    next_of_a_stranger = [*packets[:3], fragment(7, 3 * 1375, 30_000, bytes(1375), rid=8)]
    short = [*packets[:3], packets[3][:20]]
    strange = [*packets[:3], fragment(7, 0, 30_016, bytes(3))]
    too_far = [fragment(7, 1375 * index, 1375 * 4 - 1, bytes(1375)) for index in range(4)]
    trains = [swapped, foreign, other_total, other_kind, all_of_another_kind, next_of_another, next_of_a_stranger]
    for packets_of_train in (packets, *trains, short, strange, too_far):
        buffer, segment = train(packets_of_train)
        fast = joining._read_train(buffer, segment)
        slow, others = joining._read_datagrams(buffer, segment)
        if fast is None:
            assert len(slow) + len(others) > 1
        else:
            assert (slow, others) == ([fast], [])
        assert read_runs(buffer, segment) == (slow, others)
    assert joining._read_train(*train(packets)) is not None


def test_a_train_of_one_whole_block_is_joined_in_the_short_way() -> None:
    sealed = os.urandom(30_000)
    trains = Trains()
    for size in (300, 1400, 1472, 8972):
        buffer, segment = train(datagrams(sealed, size=size))
        received = trains.space[: len(buffer)]
        received[:] = buffer
        assert trains.whole(received, segment, {RID}) == (RID, 7, sealed)
        assert trains.whole(received, segment, {RID + 1}) is None
        assert trains.whole(buffer, segment, {RID}) is None, "its views are of the one buffer alone"


@given(st.integers(26, 3000), st.integers(250, 400), st.data())
def test_the_short_way_takes_nothing_that_is_not_one_block_by_its_ends(
    length: int, size: int, data: st.DataObject
) -> None:
    sealed = os.urandom(length)
    packets = datagrams(sealed, size=size)
    some = packets[data.draw(st.integers(0, len(packets) - 1)) :][: data.draw(st.integers(1, len(packets)))]
    whole = b"".join(some)
    cut_short = data.draw(st.integers(1, len(whole)))
    trains = Trains()
    trains.space[:cut_short] = whole[:cut_short]
    found = trains.whole(trains.space[:cut_short], size, {RID})
    is_whole = len(some) == len(packets) > 1 and cut_short == len(whole) and size >= 256
    assert found == ((RID, 7, sealed) if is_whole else None)


def test_trains_of_several_blocks_are_split() -> None:
    first, second, third = os.urandom(4 * 475), os.urandom(475), os.urandom(700)
    packets = [
        *datagrams(first, 1, size=500),
        *datagrams(second, 2, size=500),
        b"\x01" + bytes(499),
        *datagrams(third, 3, size=500, rid=4),
    ]
    runs, others = read_runs(*train(packets))
    assert [(run.rid, run.number, run.size, run.total) for run in runs] == [
        (RID, 1, 1900, 1900),
        (RID, 2, 475, 475),
        (4, 3, 700, 700),
    ]
    assert [bytes(other) for other in others] == [b"\x01" + bytes(499)]


def test_fragments_that_make_no_sense_are_left_over() -> None:
    for packet in (
        fragment(1, 0, 100, b""),
        fragment(1, 0, 15, bytes(15)),
        fragment(1, 90, 100, bytes(11)),
        fragment(1, 0, MAX_SEALED + 1, bytes(100)),
        fragment(1, 2**32 - 1, 2**32 - 1, bytes(100)),
        b"\x05",
    ):
        assert read_runs(memoryview(packet), len(packet)) == ([], [memoryview(packet)])
    assert read_runs(memoryview(b""), 0) == ([], [])


@given(st.binary(max_size=3000), st.integers(-1, 3100), st.booleans())
def test_random_receives_never_raise(data: bytes, segment: int, looks_right: bool) -> None:
    buffer = memoryview(fragment(1, 0, 2000, data) if looks_right else data)
    runs, others = read_runs(buffer, segment)
    bound = joiner(limit=4000)
    for run in runs:
        bound.add(run, 0.0)
    assert sum(run.size + 25 * len(run.pieces) for run in runs) + sum(map(len, others)) == len(buffer)


# Joining.


def test_a_block_in_one_datagram_is_not_copied() -> None:
    packet = datagrams(b"x" * 100)[0]
    (run,), _ = read_runs(memoryview(packet), len(packet))
    sealed = joiner().add(run, 0.0)
    assert isinstance(sealed, memoryview)
    assert sealed.obj is packet


def test_a_block_in_one_train_needs_no_memory() -> None:
    sealed = os.urandom(40_000)
    into = joiner(limit=0)
    (run,), _ = read_runs(*train(datagrams(sealed)))
    assert into.add(run, 0.0) == sealed
    assert len(into) == into.used == 0


def test_a_block_in_two_sends_is_joined() -> None:
    sealed = os.urandom(MAX_SEALED)
    packets = datagrams(sealed)
    into = joiner()
    (head,), _ = read_runs(*train(packets[:46]))
    (tail,), _ = read_runs(*train(packets[46:]))
    assert into.add(head, 0.0) is None
    assert into.used == BLOCK_COST + CHUNK_COST + 46 * 1375
    assert into.add(tail, 0.0) == sealed
    assert len(into) == into.used == into.lost == 0


@settings(max_examples=200)
@given(st.data())
def test_what_comes_out_was_sent_and_once(data: st.DataObject) -> None:
    """Any order, duplicates, losses, blocks cut at other sizes and sent again, trains of any composition."""
    blocks = {number: os.urandom(data.draw(st.integers(16, 4000))) for number in range(data.draw(st.integers(1, 4)))}
    packets = []
    for number, sealed in blocks.items():
        for size in data.draw(st.lists(st.integers(60, 600), min_size=1, max_size=2)):
            packets += datagrams(sealed, number, size)
    indices = data.draw(st.lists(st.integers(0, len(packets) - 1), max_size=2 * len(packets)))
    arrivals = [packets[index] for index in indices]
    if data.draw(st.booleans()):
        arrivals += data.draw(st.permutations(packets))
    opened: dict[int, bytes] = {}
    into = joiner(lambda number: number not in opened)
    while arrivals:
        size = len(arrivals[0])
        together = 1
        while together < len(arrivals) and len(arrivals[together]) == size and data.draw(st.booleans()):
            together += 1
        runs, others = read_runs(*train(arrivals[:together]))
        del arrivals[:together]
        assert not others
        for run in runs:
            sealed = into.add(run, 0.0)
            if sealed is not None and run.number not in opened:
                opened[run.number] = bytes(sealed)
    assert all(blocks[number] == sealed for number, sealed in opened.items())
    assert into.conflicts == 0
    heard = {FRAGMENT_HEADER.unpack_from(packets[index])[2] for index in indices}
    into.expire(DEADLINE)
    assert into.lost <= len(heard - opened.keys()) if opened != blocks else into.lost == 0
    assert len(into) == into.used == 0


@given(st.permutations(range(22)))
def test_every_order_gives_the_block(order: list[int]) -> None:
    sealed = os.urandom(30_000)
    packets = datagrams(sealed)
    assert feed(joiner(), [packets[index] for index in order]) == [sealed]


def test_duplicates_of_an_opened_block_are_neither_kept_nor_lost() -> None:
    sealed = os.urandom(5000)
    opened: set[int] = set()
    into = joiner(lambda number: number not in opened)
    packets = datagrams(sealed)
    assert feed(into, packets[1:]) == []
    assert feed(into, [b"".join(packets)[:25] + packets[0][25:]]) == [sealed]
    opened.add(7)
    assert feed(into, packets[:2]) == []
    assert len(into) == into.used == 0
    # Fragments of a block that was then opened from one train.
    opened.clear()
    feed(into, packets[:2])
    opened.add(7)
    into.expire(DEADLINE)
    assert into.lost == 0


def test_overlaps_that_agree_are_fine_and_others_drop_the_block() -> None:
    total = 3000
    sealed = os.urandom(total)

    def part(start: int, end: int, other: bool = False) -> bytes:
        return fragment(7, start, total, os.urandom(end - start) if other else sealed[start:end])

    assert feed(joiner(), [part(0, 1000), part(500, 1500), part(2500, 3000), part(900, 3000)]) == [sealed]
    assert feed(joiner(), [part(1000, 1200), part(1400, 1600), part(0, 2999), part(2998, 3000)]) == [sealed]
    for conflict in (
        [part(0, 1000), part(0, 1000, other=True)],
        [part(0, 1000), part(900, 1100, other=True)],
        [part(1000, 2000), part(900, 1100, other=True)],
        [part(1000, 1100), part(0, 2000, other=True)],
        [part(0, 1000), fragment(7, 1000, total + 1, sealed[1000:])],
    ):
        into = joiner()
        assert feed(into, [*conflict, part(0, 2000), part(2000, 3000)]) == []
        assert (into.conflicts, into.used, len(into)) == (1, BLOCK_COST, 1)
        into.expire(DEADLINE)
        assert (into.lost, into.used, len(into)) == (1, 0, 0)


def test_incomplete_blocks_are_given_up_at_their_deadline() -> None:
    into = joiner()
    assert into.next_deadline is None
    feed(into, datagrams(bytes(5000), 1)[:2], now=10.0)
    feed(into, datagrams(bytes(5000), 2)[:2], now=10.5)
    feed(into, datagrams(bytes(5000), 1)[2:3], now=10.6)
    assert into.next_deadline == 10.0 + DEADLINE
    into.expire(10.9)
    assert (into.lost, len(into)) == (0, 2)
    into.expire(11.0)
    assert (into.lost, len(into)) == (1, 1)
    assert into.next_deadline == 10.5 + DEADLINE
    into.expire(12.0)
    assert (into.lost, into.used) == (2, 0)


def test_a_session_has_a_limit_of_blocks_and_bytes() -> None:
    into = joiner()
    for number in range(joining.MAX_BLOCKS + 10):
        feed(into, datagrams(bytes(5000), number)[:1])
    assert (len(into), into.lost) == (joining.MAX_BLOCKS, 10)
    into = joiner(session=10_000)
    for number in range(10):
        feed(into, datagrams(bytes(5000), number)[:2])
        assert into.used <= 10_000
    assert into.lost > 0


def test_tiny_fragments_are_not_cheap_and_too_many_break_the_block() -> None:
    into = joiner()
    for index in range(600):
        feed(into, [fragment(1, 2 * index, 2000, b"x")])
        assert into.used <= BLOCK_COST + (CHUNK_COST + 1) * (joining.MAX_CHUNKS + 1)
    assert (into.conflicts, into.used) == (1, BLOCK_COST)


def test_the_node_s_budget_is_taken_from_the_greediest() -> None:
    budget = Budget(50_000)
    greedy, modest = Joiner(everything_is_new, budget), Joiner(everything_is_new, budget)
    feed(modest, datagrams(bytes(20_000), 1)[:8])
    for number in range(20):
        feed(greedy, datagrams(bytes(20_000), number)[:8])
        assert budget.used == greedy.used + modest.used <= 50_000
    assert modest.lost == 0
    assert greedy.lost > 0
    assert feed(modest, datagrams(bytes(20_000), 1)[8:]) == [bytes(20_000)]
    greedy.close()
    modest.close()
    assert budget.used == 0
    assert not budget.joiners


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(1, 40), st.integers(30, 40)), max_size=60))
def test_any_fragments_keep_the_accounts(moves: list[tuple[int, int, int, int]]) -> None:
    budget = Budget(6 * BLOCK_COST)
    two = (Joiner(everything_is_new, budget, 4 * BLOCK_COST), Joiner(everything_is_new, budget))
    for step, (number, offset, size, total) in enumerate(moves):
        if offset + size <= total:
            run = Run(RID, number, total, offset, size, [memoryview(bytes([number]) * size)])
            out = two[step % 2].add(run, step / 10)
            assert out is None or bytes(out) == bytes([number]) * total
            assert budget.used == two[0].used + two[1].used <= budget.limit
            assert two[0].used <= 4 * BLOCK_COST
    for one in two:
        one.expire(1e9)
        assert len(one) == one.used == 0
    assert budget.used == 0
