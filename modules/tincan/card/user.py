"""A card in user space, for machines without TUN: the same door, with a small IP endpoint behind it.

It has no offloads. Its timers are asked for like those of any machine: `next_wake` and `wake`.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ipop_modules.tincan.frames import CARD, FRAME_HEADER, FRAME_HEADER_SIZE, Refusal

from .errors import CardError
from .protocol.endpoint import Answered, Effects, Emit, Endpoint, Unanswered
from .settings import Interface

MAXIMUM_QUEUE: Final = 500
"""Frames that wait to be read."""

PingResult = Answered | Unanswered


class UserCard:
    """Implements `frames.Card` without a kernel. `clock` gives seconds on a monotonic clock."""

    def __init__(
        self, name: str, mac: bytes, mtu: int, interfaces: Iterable[Interface], clock: Callable[[], float]
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._name = name
        self._mac = mac
        self._clock = clock
        self._endpoint = Endpoint(mac, interfaces, mtu)
        self._frames: deque[bytes] = deque()
        self._waiting: dict[tuple[bytes, int, int], Callable[[PingResult], None]] = {}
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @property
    def name(self) -> str:
        return self._name

    @property
    def mac(self) -> bytes:
        return self._mac

    def fileno(self) -> int:
        return self._event

    def read(self, into: memoryview) -> int:
        if not self._frames:
            return 0
        frame = self._frames.popleft()
        if not self._frames:
            os.eventfd_read(self._event)
        FRAME_HEADER.pack_into(into, 0, CARD, 0, 0, len(frame))
        end = FRAME_HEADER_SIZE + len(frame)
        into[FRAME_HEADER_SIZE:end] = frame
        return end

    def read_more(self, view: memoryview, at: int, filled: int, limit: int) -> tuple[int, int]:
        del view, limit
        return at + filled, 0

    def gather(self) -> None:
        pass

    def flush(self) -> None:
        pass

    def write(self, offload: int, size: int, frame: memoryview) -> bool:
        if offload or size:
            self.counters["write_refused"] += 1
            return False
        self._perform(self._endpoint.receive(frame, self._clock()))
        return True

    def write_train(self, run: memoryview, refusal: Refusal) -> int:
        del run, refusal
        return 0

    def close(self) -> None:
        if self._event >= 0:
            os.close(self._event)
            self._event = -1

    def ping(
        self,
        address: IPv4Address | IPv6Address,
        payload: bytes,
        identifier: int,
        sequence: int,
        done: Callable[[PingResult], None],
    ) -> None:
        """Send an echo request and call `done` once, with the reply and its round trip in seconds, or without.

        Raises CardError when the address is on none of the card's subnets or the payload does not fit.
        """
        packed = address.packed
        self._waiting[packed, identifier, sequence] = done
        try:
            effects = self._endpoint.ping(packed, payload, identifier, sequence, self._clock())
        except ValueError as error:
            del self._waiting[packed, identifier, sequence]
            raise CardError(f"cannot ping {address}: {error}") from error
        self._perform(effects)

    def next_wake(self) -> float | None:
        """When `wake` is due, on the card's clock."""
        return self._endpoint.next_wake()

    def wake(self, now: float) -> None:
        self._perform(self._endpoint.wake(now))

    def _perform(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, Emit):
                self._queue(effect.frame)
            elif done := self._waiting.pop((effect.address, effect.identifier, effect.sequence), None):
                done(effect)

    def _queue(self, frame: bytes) -> None:
        if len(self._frames) >= MAXIMUM_QUEUE:
            self.counters["read_full"] += 1
            return
        if not self._frames:
            os.eventfd_write(self._event, 1)
        self._frames.append(frame)
