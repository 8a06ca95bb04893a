"""Answers that go where a block came from, whatever path is in use: to probes of a path, and of its size.

The source of a datagram can be forged. So a block is answered once, however much it asks; no answer is longer than what
asked for it; and an address that has not answered us gets few (`courtesy.py`), counted apart from our own probes.
"""

from __future__ import annotations

from typing import Final

from . import control
from .blocks import Blocks
from .courtesy import Courtesy
from .events import Endpoint
from .session import Keys, Session
from .state import State


class Answering:
    """What one node sends to addresses that only a datagram's header names."""

    def __init__(self, state: State, blocks: Blocks) -> None:
        self._state: Final = state
        self._blocks: Final = blocks
        self._courtesy: Final = Courtesy()

    def answer(self, session: Session, keys: Keys, message: control.AnyControl, source: Endpoint, now: float) -> None:
        """Answer the block that is being opened; it came from `source`."""
        if session.paths.away_until is not None:
            return
        if not self._blocks.take_turn(source):
            self._state.counters["drop_second_answer"] += 1
            return
        if not session.paths.validated(source):
            address = self._state.wire.address(source)
            if not self._courtesy.allows(address, session.node, now, member=session.member):
                self._state.counters["drop_answer_unvalidated"] += 1
                return
        active = session.paths.active
        aside = active is None or source != active.endpoint
        self._blocks.send_to(source, keys, control.frame(message), aside=aside)

    def validated(self, session: Session, source: Endpoint) -> None:
        """This address has answered us."""
        self._courtesy.answered(self._state.wire.address(source), session.node)
