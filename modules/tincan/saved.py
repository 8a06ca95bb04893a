"""What tincan must know again after a restart: its links, and the owners of addresses that the directory confirmed.

Kept in the node's run folder, so that a restarted tincan shakes hands at once with the peers that it had and the
traffic goes on. Losing the file costs no more than a new lookup.
"""

from __future__ import annotations

from pathlib import Path

import msgspec


class SavedLink(msgspec.Struct, frozen=True):
    """One peer with a direct path; `endpoint` is as `udp.show_endpoint` writes it."""

    node: str
    endpoint: str
    kinds: tuple[str, ...]


class Saved(msgspec.Struct, frozen=True):
    links: tuple[SavedLink, ...] = ()
    owners: tuple[tuple[str, str], ...] = ()
    """(address, node)."""


def load(path: Path) -> Saved:
    """What was saved; nothing when the file is missing or makes no sense."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Saved)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Saved()
