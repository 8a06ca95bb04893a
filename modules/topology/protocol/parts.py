"""The set of a namespace's members lies in parts: no storer holds all of a large one.

The first part is for everybody. When it has as many as a storer keeps of one set, a newcomer goes to one of sixteen
others, by the first hexadecimal digit of its id; when that is full, to one by the first two digits, and so on. Who
reads begins with the first part, and goes on to the sixteen behind every part that is full. Members in a deeper part
try the one before it now and then, so that a set that shrinks is short again.
"""

from __future__ import annotations

from typing import Final

from ipop_modules.topology.protocol.store import MAX_IN_SET

FIRST: Final = ""
"""A part is named by the digits that the ids of its members begin with."""
DIGITS: Final = "0123456789abcdef"
DEEPEST: Final = 5
"""Digits: room for 64 million."""


def before(part: str) -> str:
    """The part that was full. Raises ValueError for the first."""
    if not part:
        raise ValueError("nothing is before the first part")
    return part[:-1]


def behind(part: str) -> list[str]:
    """The parts that are used once this one is full; none behind the deepest."""
    return [part + digit for digit in DIGITS] if len(part) < DEEPEST else []


def for_node(node: bytes, before: str) -> str | None:
    """The part of a node (its id) behind one that was full; None behind the deepest."""
    return node.hex()[: len(before) + 1] if len(before) < DEEPEST else None


def belongs(node: bytes, part: str) -> bool:
    """Whether a node may be in this part."""
    return node.hex().startswith(part)


def is_full(others: int) -> bool:
    """Whether a part that has so many members besides the one who asks is full, so that there are more behind it."""
    return others >= MAX_IN_SET - 1
