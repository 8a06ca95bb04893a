"""Near links that are being made: so many at once, and so many of them that one neighbour named.

Ids are free to make up, and an attempt at one that nobody has is a handshake sent several times. So what one neighbour
says neither takes the link module's room nor keeps this node from trying whom others name.
"""

from __future__ import annotations

from typing import Final

AT_ONCE: Final = 32
OF_ONE: Final = 8
"""A neighbour's own list of near ones is half as long: it may have changed."""


class Attempts:
    def __init__(self) -> None:
        self._named_by: dict[bytes, bytes | None] = {}
        """By node that is tried, the neighbour that named it; None where this node knew it itself."""

    def __contains__(self, node: bytes) -> bool:
        return node in self._named_by

    @property
    def are_few(self) -> bool:
        """Whoever named it, one more may begin."""
        return len(self._named_by) < OF_ONE

    def may_begin(self, named_by: bytes | None) -> bool:
        """Whether there is room for one more that this neighbour named."""
        if self.are_few:
            return True
        return len(self._named_by) < AT_ONCE and list(self._named_by.values()).count(named_by) < OF_ONE

    def begin(self, node: bytes, named_by: bytes | None) -> bool:
        """Whether this node may be tried now; it may again while it is."""
        if node not in self._named_by and not self.may_begin(named_by):
            return False
        self._named_by[node] = named_by
        return True

    def ended(self, node: bytes) -> bool:
        """A link is up, or could not be made. Whether it was one of these."""
        was_tried = node in self._named_by
        self._named_by.pop(node, None)
        return was_tried

    def clear(self) -> None:
        self._named_by.clear()
