"""Every kind of NAT against every other: `python -m benchmarks.nat`.

Two nodes behind routers of the two kinds come up beside an overlay of bare nodes, and one pings the other from the
first packet on. A capture of the public segment says when the pings went straight; ping says how many were lost. Each
router is classified by a probe before it is used. It ends with 1 where an aim (`nat_aims.py`) was missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.bare_overlay import Overlay, ask, bare_overlay
from benchmarks.homes import ADDRESSES, Neighbourhood, two_homes
from benchmarks.nat_aims import Cell, missed
from benchmarks.pinging import Pinging
from benchmarks.travel import follow
from ipop_core.errors import IpopError
from ipop_core.lab import FIVE_KINDS, Capture, LabError, NatKind

BARE_NODES: Final = 7
HARD: Final = (
    (NatKind.SYMMETRIC, NatKind.PORT_RESTRICTED),
    (NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC),
    (NatKind.SYMMETRIC, NatKind.SYMMETRIC),
)
REGULAR: Final = (
    (NatKind.SEQUENTIAL, NatKind.SEQUENTIAL),
    (NatKind.SEQUENTIAL, NatKind.PORT_RESTRICTED),
    (NatKind.PORT_RESTRICTED, NatKind.SEQUENTIAL),
    (NatKind.SEQUENTIAL, NatKind.SYMMETRIC),
    (NatKind.SYMMETRIC, NatKind.SEQUENTIAL),
)
"""Symmetric NATs whose ports count up: beside the five kinds."""
_AFTER: Final = 1.0
"""Seconds of pings after the direct path is there."""

_err = Console(stderr=True)


def main(argv: Sequence[str] | None = None) -> int:
    options = _options().parse_args(argv)
    cells = []
    with bare_overlay(BARE_NODES) as overlay:
        for number in range(max(options.runs, options.hard_runs)):
            for a, b in options.pairs:
                if number >= (options.hard_runs if (a, b) in HARD else options.runs):
                    continue
                cell = _run(overlay, a, b, options)
                cells.append(cell)
                _err.print(_progress(cell), highlight=False, soft_wrap=True)
    _err.print(_table(cells))
    aims = missed(cells, options.delay)
    for line in aims:
        _err.print(f"missed: {line}", highlight=False, soft_wrap=True)
    if options.json:
        grid = [asdict(cell) for cell in cells]
        print(json.dumps({"delay_ms": options.delay, "careful": not options.careless, "grid": grid, "missed": aims}))
    return 1 if aims else 0


def _run(overlay: Overlay, a: NatKind, b: NatKind, options: argparse.Namespace) -> Cell:
    try:
        with two_homes(overlay, (a, b), delay=options.delay, careful=not options.careless) as homes:
            cell = _ping(overlay, homes, options.seconds)
            if options.why or cell.lost:
                for node in homes.nodes.values():
                    _err.print_json(data=ask(node, "link", "status"))
            if options.why:
                alice = homes.nodes["alice"]
                _err.print_json(data=ask(alice, "link", "why", {"address": ADDRESSES["bob"]}))
                _err.print_json(data=ask(alice, "link", "netcheck"))
            return cell
    except (IpopError, LabError, OSError) as error:
        return Cell(a.value, b.value, False, None, 0, 0, 0, 0, fault=str(error))


def _ping(overlay: Overlay, homes: Neighbourhood, seconds: float) -> Cell:
    alice, bob = homes.alice, homes.bob
    public = alice.public_address, bob.public_address
    with Capture(overlay.public.namespace, overlay.public.bridge) as capture:
        with Pinging(alice.host, ADDRESSES["bob"]) as pinging:
            deadline = time.monotonic() + seconds
            stop = deadline
            while time.monotonic() < min(stop, deadline):
                time.sleep(0.1)
                if stop == deadline and follow(capture.datagrams(), *public, overlay.addresses).direct_at is not None:
                    stop = time.monotonic() + _AFTER
        travel = follow(capture.datagrams(), *public, overlay.addresses)
    after = None if travel.direct_at is None else round((travel.direct_at - pinging.began) * 1000, 1)
    return Cell(
        alice.kind.value,
        bob.kind.value,
        travel.direct_last,
        after,
        pinging.sent,
        pinging.received,
        travel.relayed,
        travel.between,
        travel.until_direct,
        tuple(number for number in range(1, pinging.sent + 1) if number not in pinging.replies),
    )


def _progress(cell: Cell) -> str:
    if cell.fault:
        return f"{cell.a} - {cell.b}: {cell.fault}"
    way = f"direct after {cell.direct_after_ms} ms" if cell.direct else "relay"
    lost = f", not {', '.join(map(str, cell.lost))}" if cell.lost else ""
    pings = f"{cell.received} of {cell.sent} pings{lost}"
    return f"{cell.a} - {cell.b}: {way}, {pings}, {cell.datagrams} datagrams between"


def _table(cells: Sequence[Cell]) -> Table:
    """Rows ping columns: runs that became direct, the median time to it, pings lost in all runs."""
    names = [kind.value for kind in NatKind if any(kind in cell.kinds for cell in cells)]
    shown = Table(title="direct runs, median ms to direct, pings lost; rows ping columns")
    for name in ("", *names):
        shown.add_column(name)
    for a in names:
        shown.add_row(a, *(_cell([cell for cell in cells if (cell.a, cell.b) == (a, b)]) for b in names))
    return shown


def _cell(runs: Sequence[Cell]) -> str:
    if not runs:
        return ""
    direct = [run.direct_after_ms for run in runs if run.direct and run.direct_after_ms is not None]
    time_shown = f"{statistics.median(direct):.0f}" if direct else "-"
    lost = sum(run.sent - run.received for run in runs)
    return f"{len(direct)}/{len(runs)} {time_shown} {lost}"


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nat", description=__doc__)
    every = [*product(FIVE_KINDS, repeat=2), *REGULAR]
    parser.add_argument("--pairs", type=_pairs, default=every, metavar="A,B[:C,D...]")
    parser.add_argument("--runs", type=int, default=3, help="of every pair but the hard ones (3)")
    parser.add_argument("--hard-runs", type=int, default=30, help="of symmetric with itself or port-restricted (30)")
    parser.add_argument("--seconds", type=float, default=15.0, help="to wait for a direct path, at most (15)")
    parser.add_argument("--delay", type=float, default=20.0, metavar="MS", help="of each home's line, each way (20)")
    parser.add_argument("--careless", action="store_true", help="routers on which an early probe spoils a mapping")
    parser.add_argument("--why", action="store_true", help="print what the pinging node says of its path and its NAT")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _pairs(text: str) -> list[tuple[NatKind, NatKind]]:
    """`symmetric,open:open,open`."""
    try:
        return [(NatKind(a), NatKind(b)) for a, b in (pair.split(",") for pair in text.split(":"))]
    except ValueError as error:
        names = ", ".join(kind.value for kind in NatKind)
        raise argparse.ArgumentTypeError(f"{error}; expected pairs of {names}") from error


if __name__ == "__main__":
    sys.exit(main())
