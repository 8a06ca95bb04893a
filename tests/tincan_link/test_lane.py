"""A turn of the lane is bounded, whatever waits: a flood on one side starves neither the other side nor the timers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface

import pytest

from ipop_modules.tincan.card.protocol.ethernet import mac_of
from ipop_modules.tincan.card.protocol.neighbours import Neighbours
from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.tincan.link.lane import BLOCKS_A_TURN, FRAMES_A_TURN, RECEIVES_A_TURN, Lane
from ipop_modules.tincan.link.protocol.block import GATHERED
from ipop_modules.tincan.link.udp import RECEIVE_SIZE, UdpSocket

from .net import Net, Peer
from .test_arrivals import linked

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
