"""Joining fragments to sealed blocks again, and repairing those that lack one.

Two steps. `read_runs` reads what one receive gave (with UDP_GRO a train of equal datagrams) and gathers neighbouring
fragments of one block into runs, so that all further work is done once for a run and not once for a datagram. A
`Joiner` then makes whole blocks of the runs for one receiver id.

A fragment is authenticated only with its whole block, so until then nothing about it can be trusted: memory is bounded
for each session and for the node (`Budget`), incomplete blocks have a deadline, and a block whose fragments contradict
each other is dropped.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Final

from .block import MAX_SEALED, MIN_SEALED
from .repair import mended
from .wire import FRAGMENT, FRAGMENT_HEADER, FRAGMENT_HEADER_SIZE, PARTS, REPAIR

DEADLINE: Final = 1.0
MAX_BLOCKS: Final = 64
MAX_CHUNKS: Final = 256
"""Twice what the longest block needs on a path of 576 bytes, with every datagram on its own and out of order."""

MAX_SESSION_BYTES: Final = 4 * 1024 * 1024
MAX_NODE_BYTES: Final = 64 * 1024 * 1024

BLOCK_COST: Final = 512
CHUNK_COST: Final = 160
"""What a block and a chunk of it cost the interpreter besides their bytes: tiny fragments must not be cheap."""

_MAX_RECEIVE = 65_536
_MAX_SIZES = 16
_MIN_TRAIN_SEGMENT = 256
"""Smaller ones are read one by one: peers choose the sizes, and each gets a table."""
_MIN_REPAIR = 256
"""Of a small piece, a block would have very many to be summed up; no path has smaller datagrams (`mtu.py`)."""


@dataclass(slots=True)
class Run:
    """Neighbouring fragments of one block: `pieces` are views of the receive buffer, `size` bytes from `offset` on."""

    rid: int
    number: int
    total: int
    offset: int
    size: int
    pieces: list[memoryview]

    def continues(self, rid: int, number: int, total: int, offset: int) -> bool:
        """Whether a fragment is the next one after this run."""
        return (self.number, self.rid, self.total, self.offset + self.size) == (number, rid, total, offset)


@dataclass(slots=True)
class Repair:
    """What stands for one lost piece of a block: a view of the receive buffer."""

    rid: int
    number: int
    total: int
    piece: memoryview


def read_runs(buffer: memoryview, segment: int) -> tuple[list[Run | Repair], list[memoryview]]:
    """Read what one receive gave: datagrams of `segment` bytes, the last one at most that; no GRO is one datagram.

    Returns the runs, in order, with the repairs between them, and the datagrams that are no well-formed fragments, for
    other handlers (`wire.parse` refuses those that look like one). Never raises. The views are valid until the buffer
    is used again.
    """
    if segment <= 0 or segment >= len(buffer):
        return _read_datagrams(buffer, len(buffer))
    if segment >= _MIN_TRAIN_SEGMENT and len(buffer) <= _MAX_RECEIVE:
        # Of one size with the datagrams of the block behind it, a repair is received in front of them.
        before = segment if buffer[0] == REPAIR and len(buffer) > 2 * segment else 0
        run = _read_train(buffer[before:], segment)
        if run:
            repairs, others = _read_datagrams(buffer[:before], segment)
            return [*repairs, run], others
    return _read_datagrams(buffer, segment)


def _read_train(buffer: memoryview, segment: int) -> Run | None:
    """The whole buffer as one run, or None: the common case of a large block, checked without a loop over datagrams."""
    full, rest = divmod(len(buffer), segment)
    piece_size = segment - FRAGMENT_HEADER_SIZE
    kind, rid, number, offset, total = FRAGMENT_HEADER.unpack_from(buffer)
    end = offset + full * piece_size
    headers = _train_headers(piece_size, full).unpack_from(buffer)
    if headers[::2].count(headers[0]) != full:
        return None
    # Offset and total are read as one number of 64 bits: the offsets grow evenly and the total stays.
    if headers[1::2] != tuple(range(headers[1], (end << 32) + total, piece_size << 32)):
        return None
    if rest:
        if rest <= FRAGMENT_HEADER_SIZE:
            return None
        if FRAGMENT_HEADER.unpack_from(buffer, full * segment) != (kind, rid, number, end, total):
            return None
        end += rest - FRAGMENT_HEADER_SIZE
    if kind != FRAGMENT or end > total or not MIN_SEALED <= total <= MAX_SEALED:
        return None
    pieces = [buffer[piece] for piece in _train_pieces(segment)[: full + bool(rest)]]
    return Run(rid, number, total, offset, end - offset, pieces)


class Trains:
    """Takes blocks that came whole in one train on trust: the cipher finds out if the datagrams between were others.

    Received into `space`, from its beginning, they are joined from views that were made before, and no header but the
    first and the last is read: a fifth of the time that `read_runs` and a `Joiner` take.
    """

    def __init__(self) -> None:
        self.space: Final = memoryview(bytearray(_MAX_RECEIVE))
        self._owner: Final = self.space.obj
        self._pieces: dict[int, list[memoryview]] = {}

    def whole(self, buffer: memoryview, segment: int, known: Container[int]) -> tuple[int, int, bytes] | None:
        """Receiver id, number and sealed block, if a train looks like one block; None when it has to be read.

        `buffer`: what one receive gave, datagrams of `segment` bytes; what is not in `space` has to be read, and what
        is for none of the receiver ids that are `known`.
        """
        if buffer.obj is not self._owner or not _MIN_TRAIN_SEGMENT <= segment < len(buffer):
            return None
        full, rest = divmod(len(buffer), segment)
        count = full + bool(rest)
        kind, rid, number, offset, total = FRAGMENT_HEADER.unpack_from(buffer)
        if kind != FRAGMENT or offset or total != len(buffer) - FRAGMENT_HEADER_SIZE * count or rid not in known:
            return None
        last = (count - 1) * segment
        end = (count - 1) * (segment - FRAGMENT_HEADER_SIZE)
        if len(buffer) - last <= FRAGMENT_HEADER_SIZE:
            return None
        if FRAGMENT_HEADER.unpack_from(buffer, last) != (kind, rid, number, end, total):
            return None
        pieces = self._pieces.get(segment) or self._cut(segment)
        return rid, number, b"".join((*pieces[: count - 1], buffer[last + FRAGMENT_HEADER_SIZE :]))

    def _cut(self, segment: int) -> list[memoryview]:
        """Peers choose the sizes, so few are kept; the one that was made first makes room."""
        if len(self._pieces) >= _MAX_SIZES:
            del self._pieces[next(iter(self._pieces))]
        pieces = self._pieces[segment] = [self.space[piece] for piece in _train_pieces(segment)]
        return pieces


@lru_cache(maxsize=256)
def _train_headers(piece_size: int, count: int) -> Struct:
    """Of each datagram: type, rid and number as bytes, offset and total as one number; the piece is skipped."""
    return Struct("!" + f"17sQ{piece_size}x" * count)


@lru_cache(maxsize=64)
def _train_pieces(segment: int) -> list[slice]:
    return [slice(start + FRAGMENT_HEADER_SIZE, start + segment) for start in range(0, _MAX_RECEIVE, segment)]


def _read_datagrams(buffer: memoryview, segment: int) -> tuple[list[Run | Repair], list[memoryview]]:
    runs: list[Run | Repair] = []
    others: list[memoryview] = []
    run: Run | None = None
    for start in range(0, len(buffer), segment or 1):
        datagram = buffer[start : start + segment]
        size = len(datagram) - FRAGMENT_HEADER_SIZE
        if size <= 0 or datagram[0] not in PARTS:
            others.append(datagram)
            continue
        kind, rid, number, offset, total = FRAGMENT_HEADER.unpack_from(datagram)
        is_wrong = (offset or size < _MIN_REPAIR) if kind == REPAIR else offset + size > total
        if is_wrong or not MIN_SEALED <= total <= MAX_SEALED:
            others.append(datagram)
        elif kind == REPAIR:
            runs.append(Repair(rid, number, total, datagram[FRAGMENT_HEADER_SIZE:]))
        elif run and run.continues(rid, number, total, offset):
            run.pieces.append(datagram[FRAGMENT_HEADER_SIZE:])
            run.size += size
        else:
            run = Run(rid, number, total, offset, size, [datagram[FRAGMENT_HEADER_SIZE:]])
            runs.append(run)
    return runs, others


class Budget:
    """Bytes that all blocks in the making may use together: one for the node, shared by its joiners.

    When it is used up, the joiner that holds most gives up its oldest block: one greedy peer does not starve the rest.
    """

    __slots__ = ("joiners", "limit", "used")

    def __init__(self, limit: int = MAX_NODE_BYTES) -> None:
        self.limit = limit
        self.used = 0
        self.joiners: set[Joiner] = set()

    @property
    def blocks(self) -> int:
        """Blocks in the making."""
        return sum(len(joiner) for joiner in self.joiners)

    def enforce(self) -> None:
        while self.used > self.limit:
            max(self.joiners, key=lambda joiner: joiner.used).give_up_oldest()


class _Block:
    """A block in the making: chunks in order, none overlapping. A broken one holds nothing until its deadline."""

    __slots__ = ("broken", "chunks", "cost", "deadline", "missing", "repair", "starts", "total")

    def __init__(self, total: int, deadline: float) -> None:
        self.total = total
        self.deadline = deadline
        self.missing = total
        self.cost = BLOCK_COST
        self.starts: list[int] = []
        self.chunks: list[bytes] = []
        self.repair: bytes | None = None
        self.broken = False


class Joiner:
    """Makes sealed blocks of the runs for one receiver id.

    `is_new` is the replay window's check: fragments of a block that was opened already are duplicates and not kept.
    The caller gives only runs that came from the session's validated address, and opens what comes out. A forged block
    may come out; once the real one is opened, no other of its number does.
    """

    __slots__ = ("_blocks", "_budget", "_is_new", "_max_bytes", "conflicts", "lost", "mended", "used")

    def __init__(self, is_new: Callable[[int], bool], budget: Budget, max_bytes: int = MAX_SESSION_BYTES) -> None:
        self._is_new = is_new
        self._budget = budget
        budget.joiners.add(self)
        self._max_bytes = max_bytes
        # By block number, in order of their deadlines, since each gets the same time.
        self._blocks: dict[int, _Block] = {}
        self.used = 0
        self.lost = 0
        """Blocks of which something came and that were given up: for the loss report to the sender."""
        self.conflicts = 0
        """Of those, the ones whose fragments contradicted each other."""
        self.mended = 0
        """Blocks that were made though a datagram was missing; whether they are genuine is not known here."""

    def __len__(self) -> int:
        """Blocks in the making."""
        return len(self._blocks)

    @property
    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        return next(iter(self._blocks.values())).deadline if self._blocks else None

    def add(self, run: Run, now: float) -> bytes | memoryview | None:
        """The sealed block that this run completes, or None.

        A block that came in one datagram is returned as a view of the receive buffer.
        """
        if run.size == run.total:
            return run.pieces[0] if len(run.pieces) == 1 else b"".join(run.pieces)
        block = self._block_of(run, now)
        if block is None:
            return None
        missing = block.missing
        if run.total != block.total or not self._insert(run, block):
            self._break(block)
            return None
        if block.missing:
            return self._mend(run.number, block) if block.missing < missing else None
        self._take_out(run.number, block)
        return b"".join(block.chunks)

    def repair(self, repair: Repair, now: float) -> bytes | None:
        """The sealed block that this repair completes, or None."""
        block = self._block_of(repair, now)
        if block is None:
            return None
        known = block.repair
        if repair.total != block.total or (known is not None and known != repair.piece):
            self._break(block)
            return None
        if known is not None:
            return None
        block.repair = bytes(repair.piece)
        block.cost += len(block.repair) + CHUNK_COST
        self._account(len(block.repair) + CHUNK_COST)
        return self._mend(repair.number, block)

    def expire(self, now: float) -> None:
        """Give up the blocks whose deadline has come."""
        while (deadline := self.next_deadline) is not None and deadline <= now:
            self.give_up_oldest()

    def give_up_oldest(self) -> None:
        number = next(iter(self._blocks))
        self._account(-self._blocks.pop(number).cost)
        # One that was opened meanwhile left only duplicates here.
        if self._is_new(number):
            self.lost += 1

    def close(self) -> None:
        """Drop everything and return its bytes to the node's budget; the joiner is not used any more."""
        self._account(-self.used)
        self._blocks.clear()
        self._budget.joiners.discard(self)

    def _mend(self, number: int, block: _Block) -> bytes | None:
        """The block that still lacks something, if what has come of it is enough."""
        if block.repair is not None and block.missing <= len(block.repair):
            sealed = mended(block.starts, block.chunks, block.total, block.repair)
            if sealed is not None:
                self._take_out(number, block)
                self.mended += 1
                return sealed
        self._make_room()
        return None

    def _take_out(self, number: int, block: _Block) -> None:
        del self._blocks[number]
        self._account(-block.cost)

    def _block_of(self, run: Run | Repair, now: float) -> _Block | None:
        block = self._blocks.get(run.number)
        if block is not None:
            return None if block.broken else block
        if not self._is_new(run.number):
            return None
        block = _Block(run.total, now + DEADLINE)
        self._blocks[run.number] = block
        self._account(block.cost)
        return block

    def _insert(self, run: Run, block: _Block) -> bool:
        """Add what is new in the run; False when it contradicts what is there."""
        if not block.starts or run.offset >= block.starts[-1] + len(block.chunks[-1]):
            if len(block.chunks) > MAX_CHUNKS:
                return False
            self._put(block, len(block.starts), run.offset, b"".join(run.pieces))
            return True
        data = memoryview(b"".join(run.pieces))
        starts, chunks = block.starts, block.chunks
        at, end = run.offset, run.offset + run.size
        index = max(0, bisect_right(starts, at) - 1)
        while at < end:
            if len(chunks) > MAX_CHUNKS:
                return False
            known_from = starts[index] if index < len(starts) else end
            if known_from > at:
                gap_end = min(known_from, end)
                self._put(block, index, at, bytes(data[at - run.offset : gap_end - run.offset]))
                at = gap_end
            else:
                known = memoryview(chunks[index])[at - known_from :][: end - at]
                if known != data[at - run.offset :][: len(known)]:
                    return False
                at += len(known)
            index += 1
        return True

    def _put(self, block: _Block, index: int, start: int, chunk: bytes) -> None:
        block.starts.insert(index, start)
        block.chunks.insert(index, chunk)
        block.missing -= len(chunk)
        block.cost += len(chunk) + CHUNK_COST
        self._account(len(chunk) + CHUNK_COST)

    def _break(self, block: _Block) -> None:
        self.conflicts += 1
        self._account(BLOCK_COST - block.cost)
        block.cost = BLOCK_COST
        block.starts, block.chunks, block.repair = [], [], None
        block.broken = True

    def _make_room(self) -> None:
        """Give up old blocks until the session and the node are inside their limits."""
        while len(self._blocks) > MAX_BLOCKS or self.used > self._max_bytes:
            self.give_up_oldest()
        self._budget.enforce()

    def _account(self, cost: int) -> None:
        self.used += cost
        self._budget.used += cost
