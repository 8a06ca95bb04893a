"""The replay window: which of the last WINDOW numbers of a session were seen (RFC 6479, with blocks of eight bits)."""

from __future__ import annotations

from typing import Final

WINDOW: Final = 8192

# One spare block: the highest number may stand at the start of its block, and a whole window lies below it.
_BLOCKS: Final = WINDOW // 8 + 1


class ReplayWindow:
    """Ask `check` before a block is authenticated, `mark` only afterwards: a forged number must not move the window."""

    __slots__ = ("_bitmap", "highest")

    def __init__(self) -> None:
        self.highest = -1
        self._bitmap = bytearray(_BLOCKS)

    def check(self, number: int) -> bool:
        """Whether this number is new: above all that were seen, or inside the window and not seen."""
        highest = self.highest
        if number > highest:
            return True
        if number <= highest - WINDOW:
            return False
        return not self._bitmap[(number >> 3) % _BLOCKS] >> (number & 7) & 1

    def mark(self, number: int) -> None:
        """Note a number for which `check` said yes."""
        highest = self.highest
        if number > highest:
            self.highest = number
            if number >> 3 != highest >> 3:
                self._clear_between(highest >> 3, number >> 3)
        self._bitmap[(number >> 3) % _BLOCKS] |= 1 << (number & 7)

    def _clear_between(self, old: int, new: int) -> None:
        """Empty the blocks after `old` up to and with `new`, which come into use again."""
        count = new - old
        if count >= _BLOCKS:
            self._bitmap = bytearray(_BLOCKS)
            return
        start, bitmap = (old + 1) % _BLOCKS, self._bitmap
        before = min(count, _BLOCKS - start)
        bitmap[start : start + before] = bytes(before)
        bitmap[: count - before] = bytes(count - before)
