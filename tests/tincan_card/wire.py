"""What stands for the network between cards: it answers their questions and carries their frames."""

from __future__ import annotations

import select
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType

from ipop_modules.tincan import frames
from ipop_modules.tincan.card.protocol import local
from ipop_modules.tincan.card.protocol.neighbours import Effects, Neighbours, Reply
from ipop_modules.tincan.card.protocol.source import SourceCheck

HEADER = frames.FRAME_HEADER_SIZE
Owners = dict[bytes, bytes]
"""Packed address to node: the directory."""
Carry = Callable[[frames.Card, int, int, memoryview], object]


def write(card: frames.Card, offload: int, size: int, frame: memoryview) -> bool:
    return card.write(offload, size, frame)


class Port:
    """A card on the wire, with its node's neighbour table and what its peers may send it."""

    def __init__(self, card: frames.Card, node: bytes, table: Neighbours) -> None:
        self.card, self.node, self.table = card, node, table
        self.counters: Counter[str] = Counter()


class Wire(threading.Thread):
    """Carries frames between ports until it is left. `carry` hands a frame to the receiving card."""

    def __init__(self, ports: list[Port], owners: Owners, carry: Carry = write) -> None:
        super().__init__(daemon=True)
        self._ports = {port.card.fileno(): port for port in ports}
        self._by_node = {port.node: port for port in ports}
        self._owners = owners
        self._carry = carry
        self._done = threading.Event()
        self._buffer = memoryview(bytearray(HEADER + frames.MAX_FRAME))
        self._checks = {
            (sender.node, receiver.node): SourceCheck(
                sender.card.mac, receiver.card.mac, [address for address, node in owners.items() if node == sender.node]
            )
            for sender in ports
            for receiver in ports
        }

    def __enter__(self) -> Wire:
        self.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        while not self._done.is_set():
            for descriptor in select.select(list(self._ports), [], [], 0.02)[0]:
                port = self._ports[descriptor]
                while filled := port.card.read(self._buffer):
                    self._frame(port, filled)
            for port in self._ports.values():
                self._perform(port, port.table.wake(time.monotonic()))

    def _frame(self, port: Port, filled: int) -> None:
        _, offload, size, length = frames.FRAME_HEADER.unpack_from(self._buffer)
        assert HEADER + length == filled
        frame = self._buffer[HEADER:filled]
        kind = local.classify(self._buffer, HEADER, filled)
        if kind == local.QUESTION:
            self._perform(port, port.table.receive(frame, time.monotonic()))
        elif kind == local.UNICAST:
            port.counters["super" if size else "plain"] += 1
            node = port.table.node_of_mac(bytes(frame[:6]))
            if node is not None:
                self._deliver(port, self._by_node[node], offload, size, frame)

    def _deliver(self, sender: Port, receiver: Port, offload: int, size: int, frame: memoryview) -> None:
        refusal = self._checks[sender.node, receiver.node].refusal(frame)
        if refusal:
            receiver.counters[refusal] += 1
        else:
            self._carry(receiver.card, offload, size, frame)

    def _perform(self, port: Port, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, Reply):
                port.card.write(0, 0, memoryview(effect.frame))
            else:
                owner = self._owners.get(effect.address)
                answer = port.table.resolved(effect.address, owner, time.monotonic(), certain=True)
                self._perform(port, answer)
