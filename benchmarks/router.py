"""A router in user space that delays every frame and loses some: `python -m benchmarks.router LEFT RIGHT LOSS DELAY`.

It carries Ethernet frames between two cards of its namespace. LOSS is in percent and DELAY in milliseconds, for each
way. It keeps up to some 800 Mbit/s; the benchmark's row "raw" says what it did on the day.
"""

from __future__ import annotations

import random
import select
import socket
import sys
import time
from collections import deque
from typing import Final

_SOL_PACKET: Final = 263
_PACKET_QDISC_BYPASS: Final = 20
_PACKET_IGNORE_OUTGOING: Final = 23
_SO_RCVBUFFORCE: Final = 33
_ETH_P_ALL: Final = 3
_BUFFER: Final = 64 << 20
_LONGEST: Final = 1 << 16
_FRAMES_A_TURN: Final = 64
QUEUE_BYTES: Final = 32 << 20
"""What one direction holds at most; more is lost, as in any router."""


class Queue:
    """One direction: frames in order, each with the time at which it leaves. Times are seconds, `loss` a share of 1."""

    def __init__(self, loss: float, delay: float, chance: random.Random) -> None:
        self._loss = loss
        self._delay = delay
        self._chance = chance
        self._frames: deque[tuple[float, bytes]] = deque()
        self._bytes = 0

    @property
    def next_due(self) -> float | None:
        return self._frames[0][0] if self._frames else None

    def add(self, frame: bytes, now: float) -> bool:
        """Take a frame; False when it is lost."""
        if self._chance.random() < self._loss or self._bytes + len(frame) > QUEUE_BYTES:
            return False
        self._frames.append((now + self._delay, frame))
        self._bytes += len(frame)
        return True

    def due(self, now: float) -> list[bytes]:
        """Take out the frames whose time has come."""
        frames = []
        while self._frames and self._frames[0][0] <= now:
            frames.append(self._frames.popleft()[1])
            self._bytes -= len(frames[-1])
        return frames


def run(left: str, right: str, loss: float, delay: float) -> None:
    """Carry frames for ever. `loss` is a share of 1, `delay` in seconds."""
    cards = (_open(left), _open(right))
    queues = (Queue(loss, delay, random.Random()), Queue(loss, delay, random.Random()))
    poll = select.poll()
    for card in cards:
        poll.register(card, select.POLLIN)
    while True:
        now = time.monotonic()
        times = [queue.next_due for queue in queues if queue.next_due is not None]
        poll.poll(max(0.0, min(times) - now) * 1000 if times else None)
        for card, queue, out in zip(cards, queues, reversed(cards), strict=True):
            _take(card, queue)
            for frame in queue.due(time.monotonic()):
                _put(out, frame)


def _take(card: socket.socket, queue: Queue) -> None:
    now = time.monotonic()
    for _ in range(_FRAMES_A_TURN):
        try:
            queue.add(card.recv(_LONGEST), now)
        except OSError:
            return  # nothing waits, or the card goes down with the stage


def _put(card: socket.socket, frame: bytes) -> None:
    try:
        card.send(frame)
    except OSError:
        return  # the card's queue is full, or the far end is down: a wire would lose it too


def _open(interface: str) -> socket.socket:
    card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    card.setblocking(False)
    card.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    card.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    card.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
    card.bind((interface, _ETH_P_ALL))
    return card


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], float(sys.argv[3]) / 100, float(sys.argv[4]) / 1000)
