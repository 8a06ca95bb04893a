"""How much goes into a block and into a datagram: what the peer reports lost, and what the path lets pass."""

from __future__ import annotations

from typing import Final

from ...frames import FRAME_HEADER_SIZE
from . import control
from .answering import Answering
from .block import MAX_BLOCK
from .blocks import OVERLAY_UNIT, Blocks
from .keys import TAG_SIZE
from .loss import DOUBTFUL, MOST_DATAGRAMS
from .mtu import TRUSTED
from .session import Keys, Session
from .source import Overlay, Source
from .state import State
from .timers import SHORTEST_WAIT
from .wire import FRAGMENT_HEADER_SIZE


class Sizing:
    """Loss reports and size probes of all sessions."""

    def __init__(self, state: State, blocks: Blocks, answering: Answering) -> None:
        self._state: Final = state
        self._blocks: Final = blocks
        self._answering: Final = answering

    def tend(self, session: Session, now: float) -> None:
        """Send smaller blocks where hardly any arrive; probe the size of the path in use, when that is due."""
        path, keys = session.paths.active, session.sending_keys()
        if keys is not None and keys.sizer.unreported(session.counters.blocks_out, now):
            self._limit(session, keys)
            if path is not None:
                path.mtu.doubt(now)
        if path is None or keys is None:
            return
        while (size := path.mtu.wake(now)) is not None:
            if self._blocks.send_to(path.endpoint, keys, _padded(size)):
                self._state.timers.plan(session.node, max(path.mtu.next_wake, now + SHORTEST_WAIT))
                return
            path.mtu.unsendable(now)

    def probed(self, session: Session, keys: Keys, size: int, source: Source, now: float, *, body: int) -> None:
        """A size probe, `body` bytes long, says that it filled a datagram of `size` bytes: answer it if it did."""
        if isinstance(source, Overlay) or size != FRAGMENT_HEADER_SIZE + TAG_SIZE + FRAME_HEADER_SIZE + body:
            self._state.counters["drop_size_probe"] += 1
            return
        self._answering.answer(session, keys, control.SizeAnswer(size), source, now)

    def answered(self, session: Session, size: int, source: Source, now: float) -> None:
        """A datagram of ours, this large, arrived."""
        path = session.paths.active
        if path is None or source != path.endpoint:
            self._state.counters["drop_size_answer"] += 1
            return
        path.mtu.answered(size, now)
        if path.mtu.wanted:
            self._state.timers.plan(session.node, max(path.mtu.next_wake, now + SHORTEST_WAIT))

    def reported(self, session: Session, keys: Keys, report: control.LossReport, now: float) -> None:
        """The peer says which of our blocks it misses."""
        sent = (session.counters.blocks_out, session.counters.datagrams_out)
        aside = 0
        while keys.aside and keys.aside[0] < report.counted:
            keys.aside.popleft()
            aside += 1
        path = session.paths.active
        figures = (report.counted, report.missing, report.mended)
        is_direct = path is not None and not path.failing
        lost = keys.sizer.reported(figures, sent, now, aside=aside, is_direct=is_direct)
        if path is not None and lost >= DOUBTFUL:
            path.mtu.doubt(now)
            self._state.timers.plan(session.node, now + SHORTEST_WAIT)
        self._limit(session, keys)

    def torn(self, session: Session, now: float) -> None:
        """A block arrived in part. A flow of few large packets is not reported in time: ask whether they pass."""
        path = session.paths.active
        if path is not None and now >= path.mtu.confirmed + TRUSTED:
            path.mtu.doubt(now)
            self._state.timers.plan(session.node, now + SHORTEST_WAIT)

    def _limit(self, session: Session, keys: Keys) -> None:
        path, datagrams = session.paths.active, keys.sizer.limit
        session.repairs = keys.sizer.repairs
        if datagrams == MOST_DATAGRAMS:
            session.block_limit = MAX_BLOCK
            return
        piece = (OVERLAY_UNIT if path is None else path.mtu.size) - FRAGMENT_HEADER_SIZE
        session.block_limit = min(datagrams * piece - TAG_SIZE, MAX_BLOCK)


def _padded(size: int) -> bytes:
    """A size probe that makes a datagram of exactly `size` bytes, which is at least 512."""
    empty = control.frame(control.SizeProbe(size, bytes(256)))
    padding = size - FRAGMENT_HEADER_SIZE - TAG_SIZE - len(empty) + 256
    return control.frame(control.SizeProbe(size, bytes(padding)))
