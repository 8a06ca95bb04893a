"""How the overlay grows: `python -m benchmarks.growth 256.json 1024.json 4096.json --picture growth.svg`.

Each file is what `benchmarks.overlay --json` printed at one size. A table shows them side by side, with the hops that
each quadrupling adds, and the picture draws the hops beside the logarithm of the size. Runs of one size may be split.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import pygal
from pygal.style import Style
from rich.console import Console
from rich.table import Table

Figures: TypeAlias = dict[str, float]

MOST_ADDED: Final = 0.6
"""Hops that a quadrupling may add."""
_INK: Final = "#768390"
"""Readable on light and dark pages."""


def main(argv: Sequence[str] | None = None) -> int:
    options = _options().parse_args(argv)
    try:
        sizes = by_size([_read(file) for file in options.files])
    except ValueError as fault:
        print(f"{fault}, expected what benchmarks.overlay --json prints", file=sys.stderr)
        return 2
    Console().print(_table(sizes))
    if options.picture:
        options.picture.write_bytes(draw(sizes))
    return 0


def _read(file: Path) -> Figures:
    """Raises ValueError, which names the file."""
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise ValueError(f"{file}: {fault}") from fault
    if not isinstance(run, dict) or not isinstance(run.get("nodes"), int):
        raise ValueError(f"{file}: no number of nodes")
    return run


def by_size(runs: Sequence[Mapping[str, float]]) -> dict[int, Figures]:
    """The figures of each number of nodes, smallest first."""
    sizes: dict[int, Figures] = {}
    for run in sorted(runs, key=lambda run: run["nodes"]):
        sizes.setdefault(int(run["nodes"]), {}).update(run)
    return sizes


def added_per_quadrupling(smaller: tuple[int, float], larger: tuple[int, float]) -> float:
    """Hops; each argument is a number of nodes and the mean hops there."""
    return (larger[1] - smaller[1]) / math.log(larger[0] / smaller[0], 4)


def draw(sizes: Mapping[int, Figures]) -> bytes:
    """SVG: mean and 99% hops at each size, on a logarithmic scale, beside half of log2 N, which is Chord's mean."""
    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground=_INK,
        foreground_strong=_INK,
        foreground_subtle=_INK,
        guide_stroke_color=_INK,
        guide_stroke_dasharray="1,6",
        major_guide_stroke_color=_INK,
        major_guide_stroke_dasharray="1,6",
        colors=("#218bff", "#8c959f", "#d4772c"),
    )
    chart = pygal.XY(style=style, js=[], height=360, legend_at_bottom=True, range=(0, None), dots_size=4)
    chart.title = "Hops between two members, by the number of nodes"
    places = [math.log2(size) for size in sizes]
    chart.x_labels = [{"value": place, "label": f"{size:,}"} for place, size in zip(places, sizes, strict=True)]
    for title, figure in (("mean", "hops_mean"), ("99%", "hops_p99")):
        chart.add(title, [(place, of[figure]) for place, of in zip(places, sizes.values(), strict=True)])
    chart.add("Chord's mean", [(place, place / 2) for place in places], stroke_style={"dasharray": "4, 4"})
    return bytes(chart.render())


def _table(sizes: Mapping[int, Figures]) -> Table:
    table = Table("figure", *(f"{size:,} nodes" for size in sizes))
    means = [(size, figures["hops_mean"]) for size, figures in sizes.items()]
    added = [f"{added_per_quadrupling(before, after):.2f}" for before, after in itertools.pairwise(means)]
    table.add_row(f"hops added by a quadrupling (under {MOST_ADDED})", "", *added)
    names = dict.fromkeys(name for figures in sizes.values() for name in figures if name != "nodes")
    for name in names:
        table.add_row(name, *(str(figures.get(name, "")) for figures in sizes.values()))
    return table


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the hops as SVG")
    return parser


if __name__ == "__main__":
    sys.exit(main())
