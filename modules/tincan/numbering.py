"""The number of a node's first broadcast frame: above all that it sent before a restart, whatever its clock says.

Members take no number of an origin twice. Numbers are the microseconds of Unix time, and a frame takes one, so that
time alone keeps them apart; the number that was begun with lies in the state folder for when the clock was set back.
"""

from __future__ import annotations

from typing import Final

from ipop_core.kept_file import KeptFile

SPACE: Final = 3_600_000_000
"""More frames than a node can send in a year."""


def first_number(file: KeptFile, unix_time: float) -> int:
    """Where to begin this time; it is kept for the next."""
    before, first = _read(file), int(unix_time * 1_000_000)
    if first <= before:
        first = before + SPACE
    file.keep(f"{first}\n".encode())
    return first


def _read(file: KeptFile) -> int:
    try:
        return int(file.path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
