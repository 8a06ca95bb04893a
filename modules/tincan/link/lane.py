"""The packet lane: card to sessions, socket to sessions, in direct calls on two buffers made once.

Out: one read of the card gives a frame behind its header. Frames for one peer that are already waiting are read one
behind the other into the same buffer, those of one flow in one go, and the run is sealed as one block; it is never
waited for more.
In: one receive of the socket gives a datagram or a train of equal ones; the machine joins, opens and delivers.
A turn is bounded in receives and in what those hold, so a flood on one side starves neither the other side nor the
timers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import Final

from ..card.protocol.ethernet import IPV4
from ..card.protocol.local import GROUP, QUESTION, classify
from ..card.protocol.neighbours import Neighbours
from ..frames import FRAME_HEADER_SIZE, MAX_FRAME, NOTHING_WAITS, Card
from ..readiness import Readiness
from .protocol.block import GATHERED, MAX_BLOCK
from .protocol.machine import LinkMachine
from .shortening import shorten
from .udp import UdpSocket

FRAMES_A_TURN: Final = 64
BLOCKS_A_TURN: Final = 8
RECEIVES_A_TURN: Final = 8
WORK_A_TURN: Final = 512
"""After so many frames (`LinkMachine.receive`) the socket is not asked for more: as many as 8 full turns of a peer's
card. What one receive holds is taken whole, some 8,000 frames without payload at most."""
_FRAME_SPACE: Final = FRAME_HEADER_SIZE + MAX_FRAME
_BUFFER: Final = MAX_BLOCK + _FRAME_SPACE
_SMALL: Final = 2048
_ADDRESS: Final = Struct(f"!{FRAME_HEADER_SIZE}x6s6xH")
"""A frame behind its header: destination, ether type."""


class Lane:
    """Moves packets. `after` tells if events wait.

    `question` takes the local kernel's ARP and neighbour discovery, `group` its broadcasts, frame header and all.
    """

    def __init__(
        self,
        machine: LinkMachine,
        udp: UdpSocket,
        clock: Callable[[], float],
        after: Callable[[], bool],
    ) -> None:
        self._machine = machine
        self._udp = udp
        self._waiting: Final = Readiness(udp.fileno())
        self._clock = clock
        self._after = after
        self._card: Card | None = None
        self._neighbours: Neighbours | None = None
        self._group: Callable[[memoryview, float], None] = lambda _frame, _now: None
        self._question: Callable[[memoryview, float], None] = lambda _frame, _now: None
        self._out: Final = memoryview(bytearray(_BUFFER))
        self._in: Final = machine.receive_space
        self.counters: Final[Counter[str]] = Counter()

    def attach(
        self,
        card: Card,
        neighbours: Neighbours,
        question: Callable[[memoryview, float], None],
        group: Callable[[memoryview, float], None],
    ) -> None:
        """Serve a card."""
        self._group = group
        self._card = card
        self._neighbours = neighbours
        self._question = question

    def socket_ready(self) -> bool:
        """One turn of the socket; true when the adapter has something to do."""
        return self._serve(self._udp, self._waiting)

    def server(self, sock: UdpSocket, number: int) -> Callable[[], bool]:
        """What gives a further socket a turn; its endpoints have that number behind them.

        There may be very many, so none has a descriptor more for the question whether something waits.
        """
        return partial(self._serve, sock, None, (number,))

    def _serve(self, sock: UdpSocket, waiting: Readiness | None, number: tuple[int, ...] = ()) -> bool:
        now = self._clock()
        buffer, receive, take, card = self._in, sock.receive, self._machine.receive, self._card
        work = 0
        try:
            for turn in range(RECEIVES_A_TURN):
                got = receive(buffer)
                if got is None:
                    break
                filled, segment, endpoint = got
                if filled:
                    work += take(buffer[:filled], segment, endpoint + number if number else endpoint, now)
                    if work > WORK_A_TURN:
                        break
                if not turn:
                    if filled <= _SMALL and waiting is not None and not waiting:
                        break
                    if card is not None:
                        card.gather()
        finally:
            if card is not None:
                card.flush()
        return self._after()

    def card_ready(self) -> bool:
        """One turn of the card; true when the adapter has something to do."""
        card, neighbours = self._card, self._neighbours
        if card is None or neighbours is None:
            return False
        now = self._clock()
        view, read, node_of_mac, address = self._out, card.read, neighbours.node_of_mac, _ADDRESS.unpack_from
        start = at = blocks = number = ahead = 0
        node: bytes | None = None
        while number < FRAMES_A_TURN:
            number += 1
            filled = ahead or read(view[at:] if at else view)
            ahead = 0
            if filled <= 0:
                break
            mac, ethertype = address(view, at)
            target = node_of_mac(mac)
            if target is None or ethertype != IPV4:
                kind = classify(view, at + FRAME_HEADER_SIZE, at + filled)
                if kind:
                    self._not_for_a_peer(kind, view[at : at + filled], now)
                    continue
                if target is None:
                    self.counters["drop_no_neighbour"] += 1
                    continue
            if at > start and (target != node or at + filled - start > GATHERED) and node is not None:
                self._send(node, view[start:at], now)
                blocks += 1
                start = at
            node = target
            if filled <= _SMALL and blocks < BLOCKS_A_TURN:
                limit = min(start + GATHERED, MAX_BLOCK, at + (FRAMES_A_TURN - number + 1) * filled)
                end, ahead = card.read_more(view, at, filled, limit)
                number += (end - at) // filled - 1
                at = end
            else:
                at += filled
            # Another small frame like this one does not fit; the rest of a turn's would make a small block.
            full = filled <= _SMALL and at - start + filled > GATHERED
            if full or at + _FRAME_SPACE > _BUFFER or blocks >= BLOCKS_A_TURN:
                self._send(node, view[start:at], now)
                blocks += 1
                start = at = 0
                if ahead == NOTHING_WAITS or blocks >= BLOCKS_A_TURN or (full and number > FRAMES_A_TURN // 2):
                    break
        if at > start and node is not None:
            self._send(node, view[start:at], now)
        return self._after()

    def _send(self, node: bytes, run: memoryview, now: float) -> None:
        limit = self._machine.block_limit(node)
        if len(run) <= limit:
            self._machine.send_card(node, run, now)
            return
        self._machine.send_cards(node, list(shorten(run, limit)), now)

    def _not_for_a_peer(self, kind: int, frame: memoryview, now: float) -> None:
        if kind == QUESTION:
            self._question(frame[FRAME_HEADER_SIZE:], now)
        elif kind == GROUP:
            self._group(frame, now)
        else:
            self.counters["drop_other"] += 1
