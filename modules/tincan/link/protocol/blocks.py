"""Sealed blocks, in and out: joined and opened by receiver id; sealed, cut and sent by the path that is in use.

The hot part of the machine: everything here runs for every block, in direct calls and without an object made for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ...frames import CONTROL
from . import control
from .backlog import Load, Unsent
from .block import MAX_SEALED, MIN_SEALED, Buffer, Cutter, batches
from .events import Endpoint
from .joining import Budget, Joiner, Repair, Run, Trains, read_runs
from .keys import TAG_SIZE, BadBlock, KeysExhausted
from .loss import LossMeter
from .outgoing import Outgoing
from .path import Path
from .repair import parity
from .session import ASK_AFTER, Keys, Session
from .source import Overlay, Source
from .state import State
from .wire import FRAGMENT, FRAGMENT_HEADER, FRAGMENT_HEADER_SIZE, REPAIR

OVERLAY_UNIT: Final = 1400
"""Bytes that a relay's link is taken to carry in a datagram, to compare loss over the overlay with loss on a path."""

TORN_INTERVAL: Final = 0.5

Opened: TypeAlias = Callable[[Session, Keys, memoryview, Source, float], None]
"""Takes (session, keys, a block's plaintext, where it came from, now)."""

OverOverlay: TypeAlias = Callable[[bytes, bytes, bytes | None, Load, float], bool]
"""Sends (node, datagram, via, what it carries, now) over the ring; False when it was dropped."""


@dataclass(slots=True)
class Receiving:
    """What a receiver id of ours stands for."""

    session: Session
    keys: Keys
    joiner: Joiner
    meter: LossMeter


class Blocks:
    """All blocks of one node. What is opened goes to `opened`; a session without a direct path uses `over_overlay`.

    `unknown` is told where blocks came from under keys that are not known here.
    """

    def __init__(
        self,
        state: State,
        opened: Opened,
        over_overlay: OverOverlay,
        unknown: Callable[[Source, float], None],
    ) -> None:
        self._opened: Final = opened
        self._unknown: Final = unknown
        self._over_overlay: Final = over_overlay
        self._state: Final = state
        self._wire: Final = state.wire
        self._timers: Final = state.timers
        self._counters: Final = state.counters
        self._by_rid: Final[dict[int, Receiving]] = {}
        self._budget: Final = Budget()
        self._cutter: Final = Cutter()
        self.trains: Final = Trains()
        self._turn: Source | None = None
        """Where the block came from that is being opened, until it is answered there."""

    # Receiver ids.

    def accept(self, session: Session, keys: Keys, now: float) -> None:
        """Take blocks under new keys from now on."""
        joiner = Joiner(keys.pair.window.check, self._budget)
        self._by_rid[keys.pair.local_rid] = Receiving(session, keys, joiner, LossMeter(now))

    def refuse(self, keys: Keys) -> None:
        """Take no more blocks under these keys."""
        receiving = self._by_rid.pop(keys.pair.local_rid, None)
        if receiving is not None:
            self._counters["blocks_lost"] += receiving.joiner.lost
            receiving.joiner.close()

    def find(self, rid: int) -> Receiving | None:
        return self._by_rid.get(rid)

    def expire(self, session: Session, now: float) -> float | None:
        """Give up incomplete blocks of a session; returns when there is more to give up."""
        deadlines = []
        for keys in session.all_keys():
            receiving = self._by_rid.get(keys.pair.local_rid)
            if receiving is None:
                continue
            lost = receiving.joiner.lost
            receiving.joiner.expire(now)
            if receiving.joiner.lost > lost:
                self._torn(session, now)
            if receiving.joiner.next_deadline is not None:
                deadlines.append(receiving.joiner.next_deadline)
        return min(deadlines, default=None)

    def _torn(self, session: Session, now: float) -> None:
        """Tell the peer now and then that parts of its blocks don't come: it may be those of full size."""
        keys = session.sending_keys()
        if keys is not None and now >= session.torn_told + TORN_INTERVAL:
            session.torn_told = now
            self.send_under(session, keys, control.frame(control.Torn()), now, answers=True)

    @property
    def unfinished(self) -> tuple[int, int]:
        """Blocks of which a part has come, and the bytes that they are taken to use."""
        return self._budget.blocks, self._budget.used

    # In.

    def receive(self, buffer: memoryview, segment: int, source: Source, now: float) -> list[memoryview]:
        """Take what one receive gave, datagrams of `segment` bytes; returns those that are no well-formed fragments."""
        if segment >= len(buffer) >= FRAGMENT_HEADER_SIZE + MIN_SEALED:
            # A whole block in one datagram, as every small packet is, or a part that came alone.
            kind, rid, number, offset, total = FRAGMENT_HEADER.unpack_from(buffer)
            size = len(buffer) - FRAGMENT_HEADER_SIZE
            if kind == FRAGMENT and offset + size <= total <= MAX_SEALED and (receiving := self._by_rid.get(rid)):
                piece = buffer[FRAGMENT_HEADER_SIZE:]
                if size == total:
                    self._open(receiving, number, piece, source, now)
                else:
                    self._join(receiving, Run(rid, number, total, offset, size, [piece]), source, now)
                return []
        elif (train := self.trains.whole(buffer, segment, self._by_rid)) is not None:
            rid, number, joined = train
            if self._open(self._by_rid[rid], number, joined, source, now, is_sure=False):
                return []
        runs, others = read_runs(buffer, segment)
        if len(runs) > 1 and (receiving := self._by_rid.get(runs[0].rid)):
            receiving.meter.came_together(len(runs))
        for run in runs:
            if (receiving := self._by_rid.get(run.rid)) is None:
                self._counters["drop_unknown_receiver"] += 1
                self._unknown(source, now)
            else:
                self._join(receiving, run, source, now)
        return others

    def _join(self, receiving: Receiving, run: Run | Repair, source: Source, now: float) -> None:
        """Take a part of a block, and open it if that was the last one."""
        session, joiner, meter = receiving.session, receiving.joiner, receiving.meter
        is_part = isinstance(run, Repair) or run.size != run.total
        if is_part and not isinstance(source, Overlay) and not session.paths.validated(source):
            self._counters["drop_fragment_unvalidated"] += 1
            return
        made, opened = joiner.mended, session.counters.blocks_in
        sealed: Buffer | None
        if isinstance(run, Repair):
            sealed = joiner.repair(run, now)
        else:
            sealed = joiner.add(run, now)
            if run.number in meter.mended:
                meter.was_late(run.number)
                self._counters["blocks_mended"] -= 1
        if sealed is not None:
            self._open(receiving, run.number, sealed, source, now)
            if joiner.mended > made and session.counters.blocks_in > opened:
                meter.was_mended(run.number)
                self._counters["blocks_mended"] += 1
        elif joiner.next_deadline is not None:
            self._timers.plan(session.node, joiner.next_deadline)

    def _open(
        self, receiving: Receiving, number: int, sealed: Buffer, source: Source, now: float, *, is_sure: bool = True
    ) -> bool:
        """False when it is not genuine and not `is_sure` to be joined rightly: then it is as if nothing had come."""
        keys, session = receiving.keys, receiving.session
        if now >= keys.pair.refuse_at:
            self._counters["drop_old_keys"] += 1
            return True
        try:
            plaintext = keys.pair.open(number, sealed)
        except BadBlock as error:
            if not is_sure and error.reason == "forged":
                return False
            self._counters["drop_" + error.reason] += 1
            return True
        session.heard = now
        session.unheard_since = None
        session.counters.bytes_in += len(plaintext)
        session.counters.blocks_in += 1
        if isinstance(source, Overlay):
            session.hops, session.via = source.hops, source.via
            if session.paths.bypassed(now):
                self._timers.plan(session.node, now)
        elif session.paths.heard(source, now):
            self._timers.plan(session.node, now)
        keys.confirmed = True
        if receiving.meter.received(number, now):
            report = control.frame(control.LossReport(*receiving.meter.report(self._wire.overflow, now)))
            self.send_under(session, keys, report, now, answers=True)
        self._turn = source
        self._opened(session, keys, memoryview(plaintext), source, now)
        return True

    def take_turn(self, source: Source) -> bool:
        """Whether the block that is being opened came from there and has not been answered there yet."""
        is_first, self._turn = self._turn is source, None
        return is_first

    # Out.

    def send(self, session: Session, frames: Buffer, now: float) -> bool:
        """Seal frames as one block and send it by the path in use; False when it was dropped."""
        keys = session.sending_keys()
        if keys is None:
            self._counters["drop_no_keys"] += 1
            return False
        return self.send_under(session, keys, frames, now)

    def send_each(self, session: Session, runs: Sequence[bytes], now: float) -> None:
        """Seal each of these runs as a block of its own. What fits one datagram leaves in as few sends as can be."""
        keys, path = session.sending_keys(), session.paths.active
        if keys is None or path is None or path.failing or now >= keys.pair.refuse_at:
            for run in runs:
                self.send(session, run, now)
            return
        train = Outgoing()
        for run in runs:
            if not train.takes(len(run)):
                self._send_train(session, keys, path, train, now)
            if len(run) > path.mtu.size - FRAGMENT_HEADER_SIZE - TAG_SIZE:
                self.send_under(session, keys, run, now)
                continue
            try:
                number, sealed = keys.pair.seal(run)
            except KeysExhausted:
                self._counters["drop_old_keys"] += 1
                break
            train.add(number, FRAGMENT_HEADER.pack(FRAGMENT, keys.pair.remote_rid, number, 0, len(sealed)), sealed)
        self._send_train(session, keys, path, train, now)

    def _send_train(self, session: Session, keys: Keys, path: Path, train: Outgoing, now: float) -> None:
        numbers, buffers, size, length = train.take()
        if not numbers:
            return
        counters = session.counters
        counters.bytes_out += length
        counters.blocks_out += len(numbers)
        counters.datagrams_out += len(numbers)
        session.owed_since = None
        if path.waiting_since is None:
            path.waiting_since = now
            self._timers.plan(session.node, now + path.patience(now))
        unsent = self._wire.transmit(path.endpoint, buffers, size)
        if unsent is not None and not self._mend(unsent, session, path, buffers, size, Load.OWN, now):
            self._never_left(session, keys, numbers, length, len(numbers))

    def send_straight(self, session: Session, frames: Buffer, load: Load, now: float) -> bool:
        """As `send`, but on the direct path alone even when it is failing: for a packet that is on its way already.

        `load` is what the packet is to this node.
        """
        keys = session.sending_keys()
        return keys is not None and self.send_under(session, keys, frames, now, straight=load)

    def send_under(  # noqa: PLR0912, PLR0915 - runs for every block: no calls that can be spared
        self,
        session: Session,
        keys: Keys,
        frames: Buffer,
        now: float,
        *,
        straight: Load | None = None,
        answers: bool = False,
    ) -> bool:
        """Send frames under certain keys of a session; False when they were dropped.

        `straight`: as `send_straight`, with that load. `answers`: nothing comes back for them, and that means nothing.
        """
        pair = keys.pair
        length = len(frames) + TAG_SIZE
        if now >= pair.refuse_at or length > MAX_SEALED:
            self._counters["drop_old_keys" if length <= MAX_SEALED else "drop_block_long"] += 1
            return False
        path = session.paths.active
        is_relayed = path is None or (path.failing and not straight)
        is_cut = path is not None and length > path.mtu.size - FRAGMENT_HEADER_SIZE
        try:
            if is_cut and not is_relayed:
                number, sealed = pair.seal_into(frames, self._cutter.space[:length]), b""
            else:
                number, sealed = pair.seal(frames)
        except KeysExhausted:
            self._counters["drop_old_keys"] += 1
            return False
        session.counters.bytes_out += len(frames)
        session.counters.blocks_out += 1
        if path is None or is_relayed:
            header = FRAGMENT_HEADER.pack(FRAGMENT, pair.remote_rid, number, 0, length)
            sent = self._over_overlay(session.node, header + sealed, session.via, straight or _load(frames), now)
            if path is None:
                if session.unheard_since is None:
                    session.unheard_since, session.asked = now, 0
                    self._timers.plan(session.node, now + ASK_AFTER)
                datagrams = -(-length // OVERLAY_UNIT)
                session.counters.datagrams_out += datagrams
                return sent or self._never_left(session, keys, (number,), len(frames), datagrams)
            if is_cut:
                # On the way there, other blocks may have been cut.
                self._cutter.space[:length] = sealed
        if straight:
            path.relayed = now
        session.owed_since = None
        if path.waiting_since is None and not answers:
            path.waiting_since = now
            self._timers.plan(session.node, now + path.patience(now))
        mtu = path.mtu
        size = mtu.size
        transmit, endpoint = self._wire.transmit, path.endpoint
        if not is_cut:
            session.counters.datagrams_out += 1
            header = FRAGMENT_HEADER.pack(FRAGMENT, pair.remote_rid, number, 0, length)
            unsent = transmit(endpoint, (header, sealed), size)
            return (
                unsent is None
                or self._mend(unsent, session, path, (header, sealed), size, straight or _load(frames), now)
                or (is_relayed and sent)
                or self._never_left(session, keys, (number,), len(frames), 1)
            )
        if not mtu.wanted:
            mtu.wanted = True
            self._timers.plan(session.node, max(mtu.next_wake, now))
        buffers = self._cutter.cut(length, pair.remote_rid, number, size)
        session.counters.datagrams_out += len(buffers) >> 1
        parts = batches(buffers, size)
        for part in parts:
            unsent = transmit(endpoint, part, size)
            if unsent is not None:
                rest = list(_from(part, parts))
                return (
                    self._mend(unsent, session, path, rest, size, straight or _load(frames), now)
                    or (is_relayed and sent)
                    or self._never_left(session, keys, (number,), len(frames), len(buffers) >> 1)
                )
        if session.repairs and 2 * length > 3 * size:
            self._send_repair(session, path, pair.remote_rid, number, length)
        return True

    def _send_repair(self, session: Session, path: Path, rid: int, number: int, length: int) -> None:
        """Behind a block that was just cut, and that it is not nearly as large as.

        One that finds no room is dropped: the block itself has left.
        """
        size = path.mtu.size
        header = FRAGMENT_HEADER.pack(REPAIR, rid, number, 0, length)
        piece = parity(self._cutter.space[:length], size - FRAGMENT_HEADER_SIZE)
        if self._wire.transmit(path.endpoint, (header, piece), size) is None:
            session.counters.datagrams_out += 1
            self._counters["repairs_sent"] += 1

    def _mend(  # noqa: PLR0917 - as the wire tells it
        self, unsent: Unsent, session: Session, path: Path, rest: Sequence[Buffer], size: int, load: Load, now: float
    ) -> bool:
        """The rest of a send, datagrams of `size` bytes, was not sent; False when it is lost."""
        if unsent is Unsent.FULL:
            return self._state.hold(path.endpoint, rest, size, load)
        # The path leads out by another card now, and that one takes no datagrams of the size that was found.
        path.mtu.refused(now)
        self._timers.plan(session.node, now)
        return False

    @staticmethod
    def _never_left(session: Session, keys: Keys, numbers: Sequence[int], length: int, datagrams: int) -> bool:
        """Blocks were dropped on this side: that the peer misses them says nothing of the path. Returns False."""
        keys.aside += numbers
        session.counters.bytes_out -= length
        session.counters.blocks_out -= len(numbers)
        session.counters.datagrams_out -= datagrams
        return False

    def send_to(self, endpoint: Endpoint, keys: Keys, frame: bytes, *, aside: bool = True) -> bool:
        """Send one small frame to an address, whatever path is in use; False when no card takes so long a datagram.

        Not `aside`: it is the path in use, and what is lost there counts as its loss.
        """
        number, sealed = keys.pair.seal(frame)
        if aside:
            keys.aside.append(number)
        header = FRAGMENT_HEADER.pack(FRAGMENT, keys.pair.remote_rid, number, 0, len(sealed))
        return self._state.transmit(endpoint, (header, sealed))


def _load(frames: Buffer) -> Load:
    """What a block's first frame is, of this node's own: all frames of one block are of one kind."""
    return Load.CONTROL if frames[0] == CONTROL else Load.OWN


def _from(part: Sequence[Buffer], parts: Sequence[Sequence[Buffer]]) -> Iterator[Buffer]:
    """The buffers of a part and of those behind it."""
    is_behind = False
    for other in parts:
        is_behind = is_behind or other is part
        if is_behind:
            yield from other
