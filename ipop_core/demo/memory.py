"""How much memory a node takes: all its processes together."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")


def pss_mb(pid: int) -> float | None:
    """Proportional set size of a process and all its descendants in MB (10^6 bytes), from proc's smaps_rollup.

    A page that several processes share counts in parts. None where the kernel doesn't tell.
    """
    sizes = [_pss(member) for member in family(pid)]
    known = [size for size in sizes if size is not None]
    return round(sum(known) / 1e6, 1) if known else None


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit() and (parent := _parent(folder)) is not None:
            children.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def _parent(folder: Path) -> int | None:
    try:
        stat = (folder / "stat").read_text()
    except OSError:  # it has ended meanwhile
        return None
    return int(stat.rpartition(")")[2].split()[1])


def _pss(pid: int) -> int | None:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)
