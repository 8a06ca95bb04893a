"""A block that lost one of its datagrams comes whole by the one behind it, and by nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.tincan.link.protocol import control, joining
from ipop_modules.tincan.link.protocol.backlog import Unsent
from ipop_modules.tincan.link.protocol.block import MAX_SEALED, MIN_SEALED
from ipop_modules.tincan.link.protocol.events import Endpoint
from ipop_modules.tincan.link.protocol.joining import (
    BLOCK_COST,
    CHUNK_COST,
    DEADLINE,
    Budget,
    Joiner,
    Repair,
    Run,
    read_runs,
)
from ipop_modules.tincan.link.protocol.repair import mended, parity
from ipop_modules.tincan.link.protocol.wire import FRAGMENT, FRAGMENT_HEADER, REPAIR

from .net import Net, Peer
from .test_arrivals import cut_up, linked

RID = 9


def joiner() -> Joiner:
    return Joiner(lambda _number: True, Budget())


def datagrams(block: bytes, size: int, number: int = 7) -> list[bytes]:
    """Fragments with `size` bytes of the block each, and the repair behind them."""
    header = FRAGMENT_HEADER.pack
    fragments = [
        header(FRAGMENT, RID, number, start, len(block)) + block[start : start + size]
        for start in range(0, len(block), size)
    ]
    return [*fragments, header(REPAIR, RID, number, 0, len(block)) + parity(block, size)]


def feed(into: Joiner, arrivals: list[bytes], now: float = 0.0) -> list[bytes]:
    out = []
    for datagram in arrivals:
        runs, others = read_runs(memoryview(datagram), len(datagram))
        assert not others
        for run in runs:
            sealed = into.repair(run, now) if isinstance(run, Repair) else into.add(run, now)
            if sealed is not None:
                out.append(bytes(sealed))
    return out


@given(st.integers(MIN_SEALED, 20_000), st.integers(200, 3000), st.data())
def test_any_one_piece_can_be_made_again(length: int, size: int, data: st.DataObject) -> None:
    block = os.urandom(length)
    starts = list(range(0, length, size))
    pieces = [block[start : start + size] for start in starts]
    lost = data.draw(st.integers(0, len(starts) - 1))
    del starts[lost], pieces[lost]
    assert mended(starts, pieces, length, parity(block, size)) == block


@given(st.integers(2, 30), st.integers(1, 40), st.data())
def test_more_than_one_can_not(count: int, last: int, data: st.DataObject) -> None:
    block = os.urandom(40 * (count - 1) + last)
    starts = list(range(0, len(block), 40))
    lost = data.draw(st.sets(st.sampled_from(starts), min_size=2))
    kept = [start for start in starts if start not in lost]
    assert mended(kept, [block[start : start + 40] for start in kept], len(block), parity(block, 40)) is None


def test_what_lacks_no_more_than_a_piece_and_not_one_piece_is_left_as_it_is() -> None:
    block = os.urandom(900)
    repair = parity(block, 300)
    assert mended([0, 600], [block[:300], block[600:]], 900, repair) == block
    assert mended([0, 450], [block[:150], block[450:]], 900, repair) is None, "parts of two pieces"
    assert mended([100, 300], [block[100:200], block[300:800]], 900, repair) is None, "two gaps"


@given(st.permutations(range(9)), st.integers(0, 8))
def test_in_every_order_all_but_one_make_the_block_once(order: list[int], lost: int) -> None:
    block = os.urandom(8 * 300 - 17)
    into, all_of_them = joiner(), datagrams(block, 300)
    assert feed(into, [all_of_them[index] for index in order if index != lost]) == [block]
    assert (len(into), into.used, into.mended) == (0, 0, int(lost < 8))


def test_two_lost_are_too_many() -> None:
    block = os.urandom(2000)
    for lost in combinations(range(6), 2):
        into = joiner()
        assert feed(into, [part for index, part in enumerate(datagrams(block, 400)) if index not in lost]) == []
        into.expire(DEADLINE)
        assert (into.lost, into.mended, into.used) == (1, 0, 0)


@given(st.integers(0, 60), st.integers(1, 60), st.integers(1, 80), st.integers(MIN_SEALED, 60))
def test_a_repair_of_any_size_makes_no_block_of_another_length(at: int, size: int, repair: int, total: int) -> None:
    into = joiner()
    if at + size < total:
        assert into.add(Run(RID, 1, total, at, size, [memoryview(bytes(size))]), 0.0) is None
    made = into.repair(Repair(RID, 1, total, memoryview(bytes(repair))), 0.0)
    assert made is None or len(made) == total
    into.expire(DEADLINE)
    assert into.used == 0


def test_repairs_that_contradict_break_the_block() -> None:
    block = os.urandom(2000)
    *fragments, repair = datagrams(block, 400)
    for conflict in (
        repair[:-1] + bytes([repair[-1] ^ 1]),
        FRAGMENT_HEADER.pack(REPAIR, RID, 7, 0, 1999) + repair[FRAGMENT_HEADER.size :],
    ):
        into = joiner()
        assert feed(into, [*fragments[2:], repair, conflict, *fragments]) == []
        assert (into.conflicts, into.used) == (1, BLOCK_COST)
    assert feed(joiner(), [*fragments[2:], repair, repair, *fragments[:1]]) == [block], "the same twice is none"


@pytest.mark.parametrize("total", [0, MIN_SEALED - 1, MAX_SEALED + 1])
def test_a_repair_that_makes_no_sense_is_left_over(total: int) -> None:
    for offset, length in ((0, total), (1, 2000)):
        datagram = FRAGMENT_HEADER.pack(REPAIR, RID, 7, offset, length) + bytes(100)
        assert read_runs(memoryview(datagram), len(datagram)) == ([], [memoryview(datagram)])


# Real machines.


def send(net: Net, a: Peer, b: Peer, length: int) -> tuple[bytes, list[bytes]]:
    """A frame and the datagrams that it travels in; none of them arrives by itself."""
    frame = net.random_bytes(length)
    path = a.machine.sessions[b.id].paths.active
    assert path is not None
    net.passes, wire = lambda _source, _target: False, len(net.sent)
    a.machine.send_card(b.id, FRAME_HEADER.pack(CARD, 0, 0, length) + frame, net.now)
    sent = [data for _, source, _, data in net.sent[wire:] if source == a.endpoint]
    net.passes = lambda _source, _target: True
    return frame, [part for data in sent for part in cut_up(data, path.mtu.size)]


def arrive(peer: Peer, source: Peer, parts: list[bytes]) -> list[bytes]:
    peer.card.clear()
    for part in parts:
        peer.machine.receive(memoryview(part), len(part), source.endpoint, peer.net.now)
    return [frame for _, _, frame in peer.card]


def test_whichever_datagram_is_lost_the_frame_arrives() -> None:
    net = Net(1)
    a, b = linked(net)
    count = len(send(net, a, b, 9000)[1])
    assert count > 8
    for lost in range(count):
        frame, parts = send(net, a, b, 9000)
        assert arrive(b, a, parts[:lost] + parts[lost + 1 :]) == [frame]
    assert b.machine.counters["blocks_mended"] == count - 1
    assert a.machine.counters["repairs_sent"] == count + 1


def test_what_fits_one_datagram_goes_alone() -> None:
    net = Net(2)
    a, b = linked(net)
    assert len(send(net, a, b, 1000)[1]) == 1


def test_a_repair_from_a_strangers_address_is_counted_and_not_kept() -> None:
    net = Net(3)
    a, b = linked(net)
    _, parts = send(net, a, b, 9000)
    stranger = net.peer("10.0.0.9")
    assert arrive(b, stranger, parts[-1:]) == []
    assert b.machine.counters["drop_fragment_unvalidated"] == 1
    assert b.machine.unfinished() == (0, 0)
    unknown = FRAGMENT_HEADER.pack(REPAIR, 1, 1, 0, 2000) + bytes(1000)
    assert arrive(b, a, [unknown]) == []
    assert b.machine.counters["drop_unknown_receiver"] == 1


def test_a_forged_repair_makes_nothing_that_reaches_the_card() -> None:
    net = Net(4)
    a, b = linked(net)
    _, parts = send(net, a, b, 9000)
    forged = parts[-1][:-1] + bytes([parts[-1][-1] ^ 1])
    assert arrive(b, a, [*parts[1:-1], forged]) == []
    assert b.machine.counters["drop_forged"] == 1
    assert b.machine.counters["blocks_mended"] == 0


def test_a_repair_that_overtakes_a_datagram_is_no_loss() -> None:
    net = Net(6)
    a, b = linked(net)
    frame, (*parts, last, repair) = send(net, a, b, 9000)
    assert arrive(b, a, [*parts, repair]) == [frame]
    assert b.machine.counters["blocks_mended"] == 1
    assert arrive(b, a, [last, last]) == []
    assert b.machine.counters["blocks_mended"] == 0


def test_a_repair_of_tiny_pieces_is_refused() -> None:
    datagram = FRAGMENT_HEADER.pack(REPAIR, RID, 7, 0, 2000) + bytes(255)
    assert read_runs(memoryview(datagram), len(datagram)) == ([], [memoryview(datagram)])


def test_a_malformed_repair_counts_as_a_bad_fragment() -> None:
    net = Net(7)
    a, b = linked(net)
    assert arrive(b, a, [FRAGMENT_HEADER.pack(REPAIR, RID, 7, 1, 2000) + bytes(300)]) == []
    assert b.machine.counters["drop_bad_fragment"] == 1


def test_a_repair_that_finds_no_room_is_neither_held_nor_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net(8)
    a, b = linked(net)
    transmit = a.transmit

    def no_room(endpoint: Endpoint, buffers: Sequence[bytes | bytearray | memoryview], segment: int) -> Unsent | None:
        return Unsent.FULL if buffers[0][0] == REPAIR else transmit(endpoint, buffers, segment)

    before = a.machine.sessions[b.id].counters.datagrams_out
    _, parts = send(net, a, b, 9000)
    assert a.machine.sessions[b.id].counters.datagrams_out == before + len(parts)
    monkeypatch.setattr(a, "transmit", no_room)
    _, parts = send(net, a, b, 9000)
    assert a.machine.counters["repairs_sent"] == 1
    assert a.machine.sessions[b.id].counters.datagrams_out == before + 2 * len(parts) + 1
    assert not a.backlog.is_full


def test_what_a_repair_would_nearly_double_goes_without() -> None:
    net = Net(9)
    a, b = linked(net)
    assert len(send(net, a, b, 1250)[1]) == 2


@pytest.mark.parametrize(("count", "read"), [(1, 1), (2, 23)])
def test_a_train_behind_a_repair_is_one_run(count: int, read: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiving card joins datagrams of one size, and a repair has that of the block's behind it."""
    read_datagrams, lengths = joining._read_datagrams, []

    def counted(buffer: memoryview, segment: int) -> tuple[list[Run | Repair], list[memoryview]]:
        lengths.append(len(buffer))
        return read_datagrams(buffer, segment)

    monkeypatch.setattr(joining, "_read_datagrams", counted)
    block = os.urandom(1375 * 20 + 17)
    *fragments, repair = datagrams(block, 1375, 8)
    buffer = memoryview(b"".join([*datagrams(block, 1375)[-1:] * count, *fragments]))
    runs, others = read_runs(buffer, len(repair))
    assert not others
    assert [type(run) for run in runs] == [Repair] * count + [Run]
    assert -(-sum(lengths) // len(repair)) == read, "one by one"


def test_what_a_repair_holds_is_accounted_and_given_back() -> None:
    into = joiner()
    for piece in (bytes(1000), bytes(1000)):
        into.repair(Repair(RID, 1, 2000, memoryview(piece)), 0.0)
        assert into.used == BLOCK_COST + CHUNK_COST + 1000
    into.repair(Repair(RID, 1, 2000, memoryview(b"x" * 1000)), 0.0)
    assert into.used == BLOCK_COST
    assert into._blocks[1].repair is None


def test_a_peer_hears_what_was_mended_and_a_clean_path_is_soon_left_alone() -> None:
    net = Net(5)
    net.narrow = 1400
    a, b = linked(net)
    session = a.machine.sessions[b.id]
    for number in range(20):
        _, parts = send(net, a, b, 9000)
        arrive(b, a, parts[1:] if number < 5 else parts)
        net.run(0.1)
    assert session.keys is not None
    assert session.keys.sizer._mended == 5
    assert b.machine.counters["blocks_mended"] == 5
    assert session.repairs
    for _ in range(100):
        for _ in range(10):
            a.machine.send_card(b.id, FRAME_HEADER.pack(CARD, 0, 0, 60_000) + bytes(60_000), net.now)
        net.run(0.1)
    assert not session.repairs
    _, parts = send(net, a, b, 60_000)
    assert {part[0] for part in parts} == {FRAGMENT}


def test_a_report_without_the_figure_is_one_of_nothing_mended() -> None:
    assert control.decode(memoryview(b"\x93\x0a\x05\x01")) == control.LossReport(5, 1, 0)
