"""Blocks that are lost on the way, and how large a block may be because of it.

A lost datagram costs its whole block, so large blocks win on clean paths and lose on lossy ones. The receiver reports
what it misses; the sender keeps the part of its blocks that is lost small. Only numbers that were passed before the
last report count as missing, so reordering alone does not look like loss; what the receiver's own socket had no room
for is not the path's fault, and smaller blocks would make it worse.

Where blocks are repaired (`repairing.py`), they may be larger for the same loss.
"""

from __future__ import annotations

from typing import Final

from .repairing import Repairing

LATELY: Final = 64
"""Mended blocks of which a datagram may still come."""
MOST_LOST: Final = (3, 0.1)
"""When more repaired blocks than so many, and than such a part, are lost, they get smaller as others do, at once."""
REPORT_INTERVAL: Final = 0.25
GAP_INTERVAL: Final = 1.0
"""A gap is reported after so long, however few blocks come: what is lost may be all that is large."""
REPORT_BLOCKS: Final = 16
"""Blocks that a report must be worth: a report is a block itself, and must not call for another."""
ACCEPTABLE: Final = 0.01
"""The part of the blocks that may be lost: with 46 datagrams a block it is reached at 0.02% of lost datagrams."""
MEMORY: Final = 2.0
"""Seconds after which an observation counts half."""
MOST_DATAGRAMS: Final = 64
SILENCE: Final = 1.0
SILENT_BLOCKS: Final = 2 * REPORT_BLOCKS
"""So many blocks sent for so long without a report: hardly any arrived, or there would have been one."""
LIKELY_DATAGRAMS: Final = 46
"""A full block on a path of 1,500 bytes."""
DOUBTFUL: Final = 0.5
"""When so much of everything is lost, the path may have become narrower."""


class LossMeter:
    """The receiving side, for one pair of keys."""

    __slots__ = (
        "_above",
        "_forgiven",
        "_highest",
        "_mark",
        "_mended",
        "_missing",
        "_next",
        "_overflow",
        "_received",
        "_together",
        "_told",
        "mended",
    )

    def __init__(self, now: float) -> None:
        self._next = now + REPORT_INTERVAL
        self._highest = -1
        self._received = 0
        self._told = 0
        """Of those, the ones that were received before the last report."""
        self._mark = -1
        """What was highest at the last report."""
        self._above = 0
        """Blocks received since that are above it."""
        self._missing = 0
        self._forgiven = 0
        self._overflow = (0, 0)
        """The overflow at the last report but one, and at the last."""
        self._together = (1, 1)
        """The most blocks that came with one receive before the last report, and since."""
        self._mended = 0
        self.mended: Final[dict[int, None]] = {}
        """The numbers of the last ones that were mended."""

    def received(self, number: int, now: float) -> bool:
        """Note an authentic block; true when a report is due. Runs for every block."""
        self._received += 1
        if number > self._mark:
            self._above += 1
            self._highest = max(self._highest, number)
        if now < self._next:
            return False
        return self._received - self._told >= REPORT_BLOCKS or (
            now >= self._next + GAP_INTERVAL - REPORT_INTERVAL and self._highest + 1 - self._received > self._missing
        )

    def came_together(self, blocks: int) -> None:
        """Note that so many blocks came with one receive, genuine or not."""
        if blocks > self._together[1]:
            self._together = (self._together[0], blocks)

    def was_mended(self, number: int) -> None:
        """Note that an authentic block had lacked a datagram."""
        self._mended += 1
        self.mended[number] = None
        if len(self.mended) > LATELY:
            del self.mended[next(iter(self.mended))]

    def was_late(self, number: int) -> None:
        """Note that it has come: it was overtaken, and not lost."""
        del self.mended[number]
        self._mended -= 1

    def report(self, overflow: int, now: float) -> tuple[int, int, int]:
        """(blocks sent, blocks of them that are missing, and that were mended), all since the keys were made.

        `overflow` counts what this node's own socket had no room for: a train of datagrams, which one receive would
        have given, once.
        """
        missing = self._mark + 1 - (self._received - self._above)
        # What is missing now was passed before the last report, so the report before that one counts, too. What found
        # no room takes as many blocks with it as come together.
        no_room = (overflow - self._overflow[0]) * max(self._together)
        self._forgiven += max(min(missing - self._missing, no_room), 0)
        self._together = (self._together[1], 1)
        counted = self._mark + 1
        self._missing, self._overflow = missing, (self._overflow[1], overflow)
        self._mark, self._above = self._highest, 0
        self._next, self._told = now + REPORT_INTERVAL, self._received
        return counted, max(missing - self._forgiven, 0), self._mended


class BlockSizer:
    """The sending side, for one pair of keys: how many datagrams a block may have."""

    __slots__ = (
        "_asked",
        "_blocks",
        "_counted",
        "_datagrams",
        "_heard",
        "_lost",
        "_mended",
        "_missing",
        "_repairing",
        "_sent",
        "limit",
    )

    def __init__(self, now: float, before: BlockSizer | None = None, sent: tuple[int, int] = (0, 0)) -> None:
        """`before` is the one of the keys before: the path is the same. `sent` as in `reported`."""
        self.limit = MOST_DATAGRAMS
        self._counted = 0
        self._missing = 0
        self._mended = 0
        self._repairing: Repairing = Repairing(now, None if before is None else before._repairing)
        self._blocks, self._sent = sent
        self._asked = sent[0]
        """How many blocks had been sent when one of them should have brought a report."""
        self._heard = now
        self._lost = 0.0
        self._datagrams = 0.0
        if before is not None:
            keep = before._kept(now)
            self.limit = before.limit
            self._lost, self._datagrams = before._lost * keep, before._datagrams * keep

    @property
    def repairs(self) -> bool:
        """Whether a block of several datagrams is followed by one that can stand for any of them."""
        return self._repairing.wanted

    def unreported(self, sent_blocks: int, now: float) -> bool:
        """Whether no report came for what was sent; blocks are then halved."""
        if now < self._heard + SILENCE or sent_blocks < max(self._blocks, self._asked) + SILENT_BLOCKS:
            return False
        self.limit = max(1, min(self.limit, LIKELY_DATAGRAMS) // 2)
        self._heard, self._asked = now, sent_blocks
        return True

    def reported(
        self,
        report: tuple[int, int, int],
        sent: tuple[int, int],
        now: float,
        *,
        aside: int = 0,
        is_direct: bool = True,
    ) -> float:
        """Take a report; returns the part of the blocks since the one before it that is missing, 0 to 1.

        `report` is what a meter gave, and `sent` what was sent so far: (blocks, datagrams that they took). `aside`: so
        many of the blocks since the report before went elsewhere than by the path in use, and are taken to be missing.
        Over the overlay, not `is_direct`, nothing is repaired.
        """
        counted, missing, mended = report
        if counted <= self._counted:
            return 0.0
        blocks = max(counted - self._counted - aside, 0)
        lost = min(max(missing - self._missing - aside, 0), blocks)
        saved = min(max(mended - self._mended, 0), blocks - lost)
        self._mended = mended
        if blocks < REPORT_BLOCKS:
            # Of a gap in a light flow: it says little of the path, and nothing of what large blocks would meet.
            self._counted, self._missing = counted, missing
            return lost / max(blocks, 1)
        keep = self._kept(now)
        datagrams = blocks * max((sent[1] - self._sent) / max(sent[0] - self._blocks, 1), 1.0)
        self._counted, self._missing, self._heard = counted, missing, now
        self._blocks, self._sent = sent
        self._lost = self._lost * keep + lost
        self._datagrams = self._datagrams * keep + datagrams
        if is_direct:
            self._repairing.observed(blocks, lost, saved, datagrams, now)
        limit = ACCEPTABLE * self._datagrams / self._lost if self._lost else MOST_DATAGRAMS
        if is_direct and self.repairs and lost <= max(MOST_LOST[0], MOST_LOST[1] * blocks):
            limit = self._repairing.limit
        self.limit = max(1, int(min(MOST_DATAGRAMS, limit)))
        return lost / blocks

    def _kept(self, now: float) -> float:
        """The part that counts of what was observed until the last report."""
        kept: float = 0.5 ** (max(now - self._heard, 0.0) / MEMORY)
        return kept
