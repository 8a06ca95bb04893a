"""What a throughput run came to: medians, spread, and ratios; as JSON and as a table.

Absolute figures depend on the machine and on the hour. Ratios of medians within one run are what to compare.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rich.table import Table

from benchmarks.measure import Run

FIGURES: Final = {
    "tcp_mbps": ("TCP Mbit/s", 0),
    "udp_kpps": ("UDP flood kpps", 1),
    "udp_clean_kpps": ("UDP <1% lost kpps", 1),
    "rtt_us": ("ping µs", 0),
    "cpu_s_per_gbit": ("CPU s/Gbit and side", 3),
}
"""Of a Run: the column's title and the digits behind the point."""
OURS: Final = "ipop"
LIMIT: Final = "raw"


@dataclass
class Result:
    """All runs of one peer. `failures` says why runs are missing."""

    name: str
    version: str
    configuration: str = ""
    card_mtu: int = 0
    runs: list[Run] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def values(self, figure: str) -> list[float]:
        return [getattr(run, figure) for run in self.runs]

    def median(self, figure: str) -> float | None:
        return statistics.median(self.values(figure)) if self.runs else None

    def spread(self, figure: str) -> float:
        """Half of the range of all runs, as a share of the median."""
        values, middle = self.values(figure), self.median(figure)
        return (max(values) - min(values)) / 2 / middle if middle else 0.0


def as_json(results: Sequence[Result], conditions: dict[str, Any]) -> dict[str, Any]:
    """One object with an entry for each peer; a figure is a median, None where every run failed."""
    return {result.name: _entry(result) | conditions for result in results}


def _entry(result: Result) -> dict[str, Any]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.4g}")

    entry: dict[str, Any] = {figure: rounded(result.median(figure)) for figure in FIGURES}
    runs = [{name: rounded(value) for name, value in asdict(run).items()} for run in result.runs]
    entry |= {"version": result.version, "configuration": result.configuration, "card_mtu": result.card_mtu}
    return entry | {"runs": runs, "failures": result.failures}


def ratio(ours: Result | None, other: Result, figure: str) -> float | None:
    """How many times ours is the other's; None where one is missing."""
    mine = ours.median(figure) if ours else None
    theirs = other.median(figure)
    return mine / theirs if mine and theirs else None


def table(results: Sequence[Result], title: str) -> Table:
    """Medians, with the spread, and our ratio to each peer in TCP and UDP and round trips."""
    ours = next((result for result in results if result.name == OURS), None)
    shown = Table(title=title, caption="median ± half of the range; x: how many times that peer's figure ours is")
    shown.add_column("")
    for heading, _ in FIGURES.values():
        shown.add_column(heading, justify="right")
    for result in sorted(results, key=lambda result: -(result.median("tcp_mbps") or 0)):
        cells = [_cell(ours, result, figure) for figure in FIGURES]
        shown.add_row(result.name, *cells, style="bold" if result is ours else None)
    return shown


def _cell(ours: Result | None, result: Result, figure: str) -> str:
    middle = result.median(figure)
    if middle is None:
        return "failed"
    if not middle:
        return "-"
    text = f"{middle:,.{FIGURES[figure][1]}f} ±{result.spread(figure):.0%}"
    times = ratio(ours, result, figure)
    return text if times is None or result is ours else f"{text}  x{times:.2f}"


def details(results: Sequence[Result]) -> list[str]:
    """One line for each peer: version, card's MTU, configuration, and what failed."""
    lines = []
    for result in results:
        lines.append(f"{result.name} {result.version}: card MTU {result.card_mtu}; {result.configuration}")
        lines += [f"  failed: {failure}" for failure in result.failures]
    return lines
