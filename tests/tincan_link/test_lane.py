"""A turn of the lane is bounded, whatever waits: a flood on one side starves neither the other side nor the timers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface

import pytest

from ipop_modules.tincan.card.protocol.ethernet import mac_of
from ipop_modules.tincan.card.protocol.neighbours import Neighbours
from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.tincan.link.lane import BLOCKS_A_TURN, FRAMES_A_TURN, RECEIVES_A_TURN, WORK_A_TURN, Lane
from ipop_modules.tincan.link.protocol import blocks
from ipop_modules.tincan.link.protocol.block import GATHERED
from ipop_modules.tincan.link.udp import RECEIVE_SIZE, UdpSocket

from .net import Net, Peer
from .test_arrivals import linked
from .test_hostile import sealed

WAITING = 200


class FloodedCard:
    """A card in which more frames of one size always wait, for the peers in turn."""

    name, mac = "flooded", bytes(6)

    def __init__(self, size: int, *peers: Peer) -> None:
        tail = b"\x08\x00\x45" + bytes(size - 15)
        frames = [mac_of(peer.id) + bytes(6) + tail for peer in peers]
        self._runs = [FRAME_HEADER.pack(CARD, 0, 0, size) + frame for frame in frames]
        self.reads = 0

    def read(self, into: memoryview) -> int:
        assert self.reads < WAITING, "the turn does not end"
        run = self._runs[self.reads % len(self._runs)]
        into[: len(run)] = run
        self.reads += 1
        return len(run)

    def read_more(self, view: memoryview, at: int, filled: int, limit: int) -> tuple[int, int]:
        return at + filled, 0

    def fileno(self) -> int:
        return -1

    def write(self, offload: int, size: int, frame: memoryview) -> bool:
        raise NotImplementedError

    def gather(self) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def udp() -> Iterator[UdpSocket]:
    sock = UdpSocket.open(0)
    yield sock
    sock.close()


def lane(peer: Peer, udp: UdpSocket) -> Lane:
    return Lane(peer.machine, udp, lambda: peer.net.now, lambda: False)


@pytest.mark.parametrize(("size", "frames"), [(100, FRAMES_A_TURN), (62_000, BLOCKS_A_TURN)])
def test_a_card_that_never_runs_dry(udp: UdpSocket, size: int, frames: int) -> None:
    net = Net(1)
    peer, other = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    card = FloodedCard(size, other)
    neighbours = Neighbours(peer.id, [IPv4Interface("10.98.0.1/24")])
    neighbours.restore([(IPv4Address("10.98.0.2").packed, other.id)], net.now)
    served = lane(peer, udp)
    served.attach(card, neighbours, ignore, ignore)
    served.card_ready()
    assert card.reads == frames


def test_a_socket_that_never_runs_dry(udp: UdpSocket) -> None:
    peer = Net(2).peer("10.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(WAITING):
            sender.sendto(bytes(20 + number % 7), ("127.0.0.1", udp.port))
    lane(peer, udp).socket_ready()
    buffer = memoryview(bytearray(RECEIVE_SIZE))
    left = 0
    while udp.receive(buffer) is not None:
        left += 1
    assert left == WAITING - RECEIVES_A_TURN


def test_after_a_datagram_that_came_alone_no_empty_receive_is_tried(
    udp: UdpSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive, tries = udp.receive, []
    monkeypatch.setattr(udp, "receive", lambda buffer: tries.append(receive(buffer)) or tries[-1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(bytes(20), ("127.0.0.1", udp.port))
    lane(Net(2).peer("10.0.0.1"), udp).socket_ready()
    assert [got is not None for got in tries] == [True]


def test_a_socket_whose_blocks_are_full_of_tiny_frames(udp: UdpSocket) -> None:
    """A receive that holds very much to do ends the turn: 64 KB can hold 7,750 frames."""
    net = Net(5)
    peer, rogue = linked(net)
    blocks_sent, frames = 20, 100
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(blocks_sent):
            tiny = [FRAME_HEADER.pack(CARD, 0, 0, size) + bytes(size) for size in (0, number % 3 + 1)]
            sender.sendto(sealed(rogue, peer, b"".join(tiny) * (frames // 2)), ("127.0.0.1", udp.port))
    served = lane(peer, udp)
    before = peer.machine.sessions[rogue.id].counters.blocks_in
    served.socket_ready()
    a_turn = peer.machine.sessions[rogue.id].counters.blocks_in - before
    assert (a_turn - 1) * frames <= WORK_A_TURN < a_turn * frames
    for _ in range(blocks_sent):
        served.socket_ready()
    assert peer.machine.sessions[rogue.id].counters.blocks_in == before + blocks_sent, "nothing is lost by that"


@pytest.mark.parametrize("number", [None, 7], ids=["the first socket", "a further socket"])
def test_a_block_that_comes_in_one_train_is_not_read_datagram_by_datagram(
    udp: UdpSocket, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    net = Net(6)
    peer, other = linked(net)
    read = 0
    read_runs = blocks.read_runs

    def counted(buffer: memoryview, segment: int) -> object:
        nonlocal read
        read += 1
        return read_runs(buffer, segment)

    monkeypatch.setattr(blocks, "read_runs", counted)
    frame = net.random_bytes(20_000)
    wire = len(net.sent)
    other.machine.send_card(peer.id, FRAME_HEADER.pack(CARD, 0, 0, len(frame)) + frame, net.now)
    (_, _, _, datagrams), _repair = net.sent[wire:]
    path = other.machine.sessions[peer.id].paths.active
    assert path is not None
    size = path.mtu.size
    sender = UdpSocket.open(0)
    target = sender.endpoint(IPv4Address("127.0.0.1"), udp.port)
    assert target is not None
    sender.transmit(target, [datagrams[at : at + size] for at in range(0, len(datagrams), size)], size)
    sender.close()
    peer.card.clear()
    served = lane(peer, udp)
    (served.socket_ready if number is None else served.server(udp, number))()
    assert [got for _, _, got in peer.card] == [frame]
    assert not read


class ScriptedCard(FloodedCard):
    """A card in which so many frames wait."""

    def __init__(self, size: int, waiting: int, peer: Peer) -> None:
        super().__init__(size, peer)
        self.waiting = waiting

    def read(self, into: memoryview) -> int:
        if self.reads == self.waiting:
            return 0
        return super().read(into)


def served_by(udp: UdpSocket, card: ScriptedCard, peer: Peer, other: Peer) -> Lane:
    neighbours = Neighbours(peer.id, [IPv4Interface("10.98.0.1/24")])
    neighbours.restore([(IPv4Address("10.98.0.2").packed, other.id)], peer.net.now)
    served = lane(peer, udp)
    served.attach(card, neighbours, ignore, ignore)
    return served


def test_frames_are_gathered_to_what_one_send_takes(udp: UdpSocket) -> None:
    net = Net(4)
    peer, other = linked(net)
    card = ScriptedCard(1242, WAITING, other)
    served = served_by(udp, card, peer, other)
    served.card_ready()
    blocks = peer.machine.sessions[other.id].counters.blocks_out
    reads = card.reads
    served.card_ready()
    assert peer.machine.sessions[other.id].counters.blocks_out == blocks + 1, "and no small one behind it"
    assert (card.reads - reads) * 1250 <= GATHERED < (card.reads - reads + 1) * 1250


def ignore(_frame: memoryview, _now: float) -> None: ...
