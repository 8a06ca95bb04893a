"""Short blocks that leave together: what comes of them at the other end, and in how many sends."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.tincan.link.protocol.block import MAX_BLOCK, MAX_SEGMENTS, MAX_SEND
from ipop_modules.tincan.link.protocol.keys import TAG_SIZE
from ipop_modules.tincan.link.protocol.outgoing import Outgoing
from ipop_modules.tincan.link.protocol.wire import FRAGMENT_HEADER_SIZE

from .net import Net
from .test_arrivals import linked


def runs(*lengths: int) -> list[bytes]:
    """A card frame each, told apart by its first byte."""
    return [
        FRAME_HEADER.pack(CARD, 0, 0, length) + bytes([number]) + bytes(length - 1)
        for number, length in enumerate(lengths)
    ]


def sends(net: Net, since: int) -> list[int]:
    return [len(data) for _, _, _, data in net.sent[since:]]


@pytest.mark.parametrize(
    ("lengths", "number"),
    [
        ([1000] * 12, 1),
        ([1000] * 12 + [400], 1),
        ([1000, 400, 1000], 2),
        ([400, 1000], 2),
        ([1000] * (MAX_SEGMENTS + 1), 2),
        ([100], 1),
        ([1000, 60_000, 1000], 4),  # and one that repairs what was cut
    ],
)
def test_blocks_of_one_size_leave_in_one_send_and_arrive_each(lengths: list[int], number: int) -> None:
    net = Net(1)
    a, b = linked(net)
    before, sent = len(b.card), len(net.sent)
    blocks = a.machine.sessions[b.id].counters.blocks_out
    a.machine.send_cards(b.id, runs(*lengths), net.now)
    assert len(sends(net, sent)) == number
    net.run(0.02)
    assert [(len(frame), frame[0]) for _, _, frame in b.card[before:]] == list(zip(lengths, range(99), strict=False))
    assert a.machine.sessions[b.id].counters.blocks_out == blocks + len(lengths)


def test_those_that_found_no_room_come_late_and_none_is_lost() -> None:
    net = Net(2)
    a, b = linked(net)
    before = len(b.card)
    a.is_full = True
    a.machine.send_cards(b.id, runs(*[1000] * 12), net.now)
    net.run(0.1)
    assert len(b.card) == before
    a.drain()
    net.run(0.1)
    assert [frame[0] for _, _, frame in b.card[before:]] == list(range(12))


def test_those_that_no_card_takes_are_not_the_paths_loss() -> None:
    net = Net(3)
    a, b = linked(net)
    session = a.machine.sessions[b.id]
    counted = session.counters.blocks_out
    a.longest = 500
    a.machine.send_cards(b.id, runs(*[1000] * 12), net.now)
    assert session.counters.blocks_out == counted
    assert session.keys is not None
    assert len(session.keys.aside) >= 12


def test_trains_for_which_the_peers_socket_had_no_room_make_no_block_smaller() -> None:
    net = Net(5)
    a, b = linked(net)
    for turn in range(200):
        if turn % 5 == 4:
            b.overflow += 1
            net.passes = lambda source, target: source != a.endpoint
        a.machine.send_cards(b.id, runs(*[1000] * 12), net.now)
        net.passes = lambda source, target: True
        net.run(0.02)
    assert a.machine.block_limit(b.id) == MAX_BLOCK


def test_for_one_that_is_no_member_yet_they_wait() -> None:
    net = Net(4)
    a, b = net.peer("10.0.0.1", ["192.168.10.1"]), net.peer("10.0.0.2", ["192.168.10.2"])
    a.machine.send_cards(b.id, runs(1000, 1000), net.now)
    assert len(a.machine.sessions[b.id].waiting) == 2
    assert not net.sent


@given(st.lists(st.sampled_from([100, 1000, 1000, 1000, 1400, 60_000]), max_size=200))
def test_every_block_is_in_one_train_and_every_train_is_one_send(lengths: list[int]) -> None:
    train, trains = Outgoing(), list[tuple[list[int], int, list[int]]]()

    def take() -> None:
        numbers, buffers, size, length = train.take()
        sizes = [len(header) + len(sealed) for header, sealed in zip(buffers[::2], buffers[1::2], strict=True)]
        assert length == sum(sizes) - len(sizes) * (TAG_SIZE + FRAGMENT_HEADER_SIZE)
        if numbers:
            trains.append((numbers, size, sizes))

    for number, length in enumerate(lengths):
        if not train.takes(length):
            take()
            assert train.takes(length)
        train.add(number, bytes(FRAGMENT_HEADER_SIZE), bytes(length + TAG_SIZE))
    take()
    assert [number for numbers, _, _ in trains for number in numbers] == list(range(len(lengths)))
    for _, size, sizes in trains:
        assert sizes[:-1] == [size] * (len(sizes) - 1)
        assert sizes[-1] <= size
        assert len(sizes) <= MAX_SEGMENTS
        assert sum(sizes) <= MAX_SEND
    for (_, size, sizes), (_, following, _) in pairwise(trains):
        assert following != size or sizes[-1] < size or len(sizes) == MAX_SEGMENTS or (len(sizes) + 1) * size > MAX_SEND
