"""What the grid of NATs is to show, and which of that the runs missed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ipop_core.lab import NatKind

SEARCH_SECONDS: Final = 15.0
SEARCH_SHARE: Final = 0.9
"""Of the runs that need a search: 27 of 30."""
SEARCH_DATAGRAMS: Final = 2000
"""The default budget of an attempt (docs/nat.md); in each run there is one."""
EASY_MS: Final = 500.0
EASY_DELAY: Final = 20.0
"""ms of each home's line up to which EASY_MS is asked for."""

_SYMMETRIC: Final = (NatKind.SYMMETRIC, NatKind.SEQUENTIAL)


@dataclass(frozen=True)
class Cell:
    """One run of one pair. Times in ms from the first ping; `datagrams` are all that went from home to home."""

    a: str
    b: str
    direct: bool
    direct_after_ms: float | None
    sent: int
    received: int
    relayed: int
    datagrams: int
    until_direct: int = 0
    """Of `datagrams`, those before the first ping that went straight."""
    lost: tuple[int, ...] = ()
    """The numbers of the pings that were not answered, the first is 1."""
    fault: str = ""

    @property
    def kinds(self) -> tuple[NatKind, NatKind]:
        return NatKind(self.a), NatKind(self.b)


def needs_search(a: NatKind, b: NatKind) -> bool:
    return {a, b} == {NatKind.SYMMETRIC, NatKind.PORT_RESTRICTED}


def needs_relay(a: NatKind, b: NatKind) -> bool:
    """Both are symmetric, and the ports of one at least can't be foreseen."""
    return a in _SYMMETRIC and b in _SYMMETRIC and NatKind.SYMMETRIC in (a, b)


def missed(cells: Sequence[Cell], delay: float) -> list[str]:
    """The aims that these runs missed, a line each; `delay` is that of a home's line, in ms."""
    found = [f"{cell.a} - {cell.b}: {cell.fault}" for cell in cells if cell.fault]
    runs = [cell for cell in cells if not cell.fault]
    for cell in runs:
        if cell.received < cell.sent:
            found.append(f"{cell.a} - {cell.b}: {cell.sent - cell.received} of {cell.sent} pings lost, expected none")
    easy = [cell for cell in runs if not needs_search(*cell.kinds) and not needs_relay(*cell.kinds)]
    found += [f"{cell.a} - {cell.b}: relayed, expected a direct path" for cell in easy if not cell.direct]
    times = [cell.direct_after_ms for cell in easy if cell.direct_after_ms is not None]
    if times and delay <= EASY_DELAY and statistics.median(times) >= EASY_MS:
        found.append(f"easy pairs: a median of {statistics.median(times):.0f} ms to direct, expected under {EASY_MS:g}")
    for pair in dict.fromkeys(cell.kinds for cell in runs if needs_search(*cell.kinds)):
        searched = [cell for cell in runs if cell.kinds == pair]
        good = sum(map(_is_found_in_time, searched))
        if good < SEARCH_SHARE * len(searched):
            aim = (
                f"direct in {SEARCH_SECONDS:g} s and {SEARCH_DATAGRAMS} datagrams, expected {SEARCH_SHARE:.0%} at least"
            )
            found.append(f"{pair[0].value} - {pair[1].value}: {good} of {len(searched)} {aim}")
    return found


def _is_found_in_time(cell: Cell) -> bool:
    after = cell.direct_after_ms
    in_time = after is not None and after <= 1000 * SEARCH_SECONDS
    return cell.direct and in_time and cell.until_direct <= SEARCH_DATAGRAMS
