"""Real machines, sealed blocks between them: whatever arrives in whatever order, what comes out was sent, once."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.tincan.link.protocol.block import MAX_SEALED
from ipop_modules.tincan.link.protocol.joining import DEADLINE, MAX_SESSION_BYTES
from ipop_modules.tincan.link.protocol.wire import FRAGMENT, FRAGMENT_HEADER, REPAIR

from .net import Net, Peer


class Anything:
    def refusal(self, frame: memoryview) -> str:
        return ""


def linked(net: Net) -> tuple[Peer, Peer]:
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    a.machine.contact(b.endpoint, b.id, net.now)
    net.run(0.5)
    for one, other in ((a, b), (b, a)):
        one.machine.want(other.id, "near", net.now)
        one.machine.confirm_source(other.id, Anything(), net.now)
    for one, other in ((a, b), (b, a)):
        one.machine.send_card(other.id, FRAME_HEADER.pack(CARD, 0, 0, 5) + b"first", net.now)
    net.run(0.5)
    assert [frame for _, _, frame in b.card] == [b"first"]
    return a, b


def cut_up(data: bytes, segment: int) -> list[bytes]:
    return [data[start : start + segment] for start in range(0, len(data), segment)]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_what_reaches_the_card_was_sent_and_comes_once(data: st.DataObject) -> None:
    """Pieces are lost, repeated, reordered, and mixed with forged ones that bear the peer's address."""
    net = Net(1)
    a, b = linked(net)
    net.passes = lambda source, target: False
    wire = len(net.sent)
    sizes = data.draw(st.lists(st.integers(60, 9000), min_size=1, max_size=6))
    frames = [index.to_bytes(2, "big") + net.random_bytes(size) for index, size in enumerate(sizes)]
    for frame in frames:
        a.machine.send_card(b.id, FRAME_HEADER.pack(CARD, 0, 0, len(frame)) + frame, net.now)
    size = a.machine.sessions[b.id].paths.active.mtu.size  # type: ignore[union-attr]
    pieces = [piece for _, source, _, sent in net.sent[wire:] if source == a.endpoint for piece in cut_up(sent, size)]
    pieces = [piece for piece in pieces if piece[0] in {FRAGMENT, REPAIR}]
    assert sum(len(piece) for piece in pieces) > sum(sizes)
    arrivals = [pieces[at] for at in data.draw(st.lists(st.integers(0, len(pieces) - 1), max_size=3 * len(pieces)))]
    forged = data.draw(st.lists(st.tuples(st.integers(0, len(pieces) - 1), st.integers(0), st.booleans()), max_size=4))
    for at, place, new_number in forged:
        piece = bytearray(pieces[at])
        if new_number:
            kind, rid, _, offset, total = FRAGMENT_HEADER.unpack_from(piece)
            piece[: FRAGMENT_HEADER.size] = FRAGMENT_HEADER.pack(kind, rid, place % 2**64, offset, total)
        else:
            piece[FRAGMENT_HEADER.size + place % (len(piece) - FRAGMENT_HEADER.size)] ^= 1
        arrivals.insert(place % (len(arrivals) + 1), bytes(piece))
    complete = data.draw(st.booleans())
    if complete and not forged:
        arrivals += data.draw(st.permutations(pieces))
    b.card.clear()
    budget = b.machine._blocks._budget
    while arrivals:
        train = [arrivals.pop(0)]
        while arrivals and len(arrivals[0]) == len(train[0]) and data.draw(st.booleans()) and len(train) < 40:
            train.append(arrivals.pop(0))
        b.machine.receive(memoryview(b"".join(train)), len(train[0]), a.endpoint, net.now)
        assert budget.used <= MAX_SESSION_BYTES
    out = Counter(frame for _, _, frame in b.card)
    assert out <= Counter(frames)
    if complete and not forged:
        assert out == Counter(frames)
    b.machine.wake(net.now + DEADLINE)
    assert budget.used == 0


def test_a_train_that_is_one_block_by_its_ends_alone_is_read_datagram_by_datagram() -> None:
    net = Net(3)
    a, b = linked(net)
    net.passes = lambda source, target: False
    frame = net.random_bytes(9000)
    wire = len(net.sent)
    a.machine.send_card(b.id, FRAME_HEADER.pack(CARD, 0, 0, len(frame)) + frame, net.now)
    size = a.machine.sessions[b.id].paths.active.mtu.size  # type: ignore[union-attr]
    (sent,) = [sent for _, source, _, sent in net.sent[wire:] if source == a.endpoint and len(sent) > size]
    pieces = cut_up(sent, size)
    swapped = [pieces[0], pieces[2], pieces[1], *pieces[3:]]
    forged = [pieces[0], bytes(len(pieces[1])), *pieces[2:]]
    b.card.clear()
    for arrivals in (forged, swapped, pieces):
        received = b.machine.receive_space[: len(sent)]
        received[:] = b"".join(arrivals)
        b.machine.receive(received, size, a.endpoint, net.now)
    assert [got for _, _, got in b.card] == [frame]
    assert (b.machine.counters["drop_forged"], b.machine.counters["drop_replay"]) == (0, 1)


def test_a_part_that_reaches_beyond_its_block_is_refused() -> None:
    net = Net(4)
    a, b = linked(net)
    keys = a.machine.sessions[b.id].keys
    assert keys is not None
    for offset, total in ((1951, 2000), (0, 40), (0, MAX_SEALED + 1)):
        part = FRAGMENT_HEADER.pack(FRAGMENT, keys.pair.remote_rid, 7, offset, total) + bytes(50)
        before = b.machine.counters.total()
        b.machine.receive(memoryview(part), len(part), a.endpoint, net.now)
        assert b.machine.counters.total() == before + 1
    assert b.machine.unfinished() == (0, 0)
