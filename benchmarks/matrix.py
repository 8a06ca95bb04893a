"""Nothing corrupt and nothing twice, at every MTU: `python -m benchmarks.matrix`, as root.

Two real nodes on one wire. At each point of the matrix, a pair of the wire's MTU and the card's, over IPv4 and IPv6
and both ways: a file of random bytes over TCP, numbered datagrams of odd sizes over UDP (`exact.py`), and an iperf3
run of each. MTUs go from 1,280 to 9,000 in odd steps; each is the card's on a wire of 1,500, the wire's under a card of
1,500, and both at once. Nodes start anew for each wire, so that the path's size is searched each time. It takes a
while: `--minutes` ends a call early, and the next with the same `--results` goes on where it ended.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.exact import End, checksum_errors, random_file, script, send_datagrams, send_file
from benchmarks.measure import iperf, wait_for
from benchmarks.peers import Ipop
from benchmarks.stage import Conditions, Side, Stage, stage
from ipop_core.lab import LabError

FIRST: Final = 1280
LAST: Final = 9000
STEP: Final = 97
ORDINARY: Final = 1500
FILE_BYTES: Final = 4 << 20
GROUPS: Final = 120
_ADDRESSES: Final = {4: {"left": "10.98.0.2", "right": "10.98.0.3"}, 6: {"left": "fd98::2", "right": "fd98::3"}}
_PREFIXES: Final = {4: 24, 6: 64}
_HEADERS: Final = {4: 28, 6: 48}
"""Of IP and UDP."""
_CARD: Final = "tapipop"
_TCP: Final = ["-n", "16M"]
_UDP: Final = ["-u", "-b", "200M", "-n", "4M"]

_err = Console(stderr=True)


@dataclass(frozen=True, order=True)
class Point:
    """MTUs of the wire and of the card on both sides."""

    wire: int
    card: int

    def __str__(self) -> str:
        return f"wire {self.wire:,}, card {self.card:,}"


@dataclass(frozen=True)
class Found:
    """What one point came to, both families and both ways together; `failure` says why it has no figures."""

    wire: int
    card: int
    files: int = 0
    corrupt_files: int = 0
    datagrams: int = 0
    lost: int = 0
    duplicated: int = 0
    corrupt: int = 0
    checksum_errors: int = 0
    iperf_runs: int = 0
    iperf_tcp_mbps: float = 0.0
    """The slowest of the four."""
    iperf_udp_lost: int = 0
    failure: str = ""

    @property
    def point(self) -> Point:
        return Point(self.wire, self.card)

    @property
    def good(self) -> bool:
        return not (self.failure or self.corrupt_files or self.duplicated or self.corrupt or self.checksum_errors)


def points(step: int = STEP) -> list[Point]:
    """The whole matrix, by wire."""
    sizes = [*range(FIRST, LAST, step), LAST]
    found = {Point(ORDINARY, ORDINARY)}
    for size in sizes:
        found |= {Point(ORDINARY, size), Point(size, ORDINARY), Point(size, size)}
    return sorted(found)


def run(wanted: Collection[Point], done: Callable[[Found], None], until: float = float("inf")) -> None:
    """Go through the points, starting none after `until` as `time.monotonic()` counts, and report each."""
    for wire, together in groupby(sorted(wanted), lambda point: point.wire):
        group = list(together)
        if time.monotonic() >= until:
            return
        try:
            with stage(Conditions(mtu=wire)) as scene:
                _start(scene)
                for point in group:
                    if time.monotonic() >= until:
                        return
                    done(_try(scene, point))
        except LabError as error:
            done(Found(wire, group[0].card, failure=str(error)))


def _try(scene: Stage, point: Point) -> Found:
    try:
        return measure(scene, point)
    except LabError as error:
        return Found(point.wire, point.card, failure=str(error))


def _start(scene: Stage) -> None:
    """Start both nodes; return once both families come through on the direct path. Raises LabError."""
    addresses = {
        side.name: [f"{_ADDRESSES[version][side.name]}/{_PREFIXES[version]}" for version in _ADDRESSES]
        for side in scene.sides
    }
    tunnel = Ipop(addresses=addresses).start(scene)
    for version in _ADDRESSES:
        wait_for(scene, replace(tunnel, right=_ADDRESSES[version]["right"]))


def measure(scene: Stage, point: Point) -> Found:
    """All traffic of one point. Raises LabError when something stops flowing."""
    for side in scene.sides:
        side.namespace.ip(f"link set {_CARD} mtu {point.card}")
    before = _checksum_errors(scene)
    files = corrupt_files = sent = lost = duplicated = corrupt = runs = udp_lost = 0
    rates = []
    for version, sender, receiver in _ways(scene):
        ends = _end(sender, version), _end(receiver, version)
        files += 1
        corrupt_files += not send_file(*ends, random_file(FILE_BYTES))
        tally = send_datagrams(*ends, script(point.card, _HEADERS[version], GROUPS, random.Random()))
        sent, lost = sent + tally.sent, lost + tally.lost
        duplicated, corrupt = duplicated + tally.duplicated, corrupt + tally.corrupt
        back = ["-R"] if sender is scene.right else []
        target = _ADDRESSES[version]["right"]
        rates.append(iperf(scene, target, [*_TCP, *back])["end"]["sum_received"]["bits_per_second"] / 1e6)
        length = (point.card - _HEADERS[version]) - 1 | 1
        udp_lost += iperf(scene, target, [*_UDP, "-l", str(length), *back])["end"]["sum"]["lost_packets"]
        runs += 2
    return Found(
        point.wire,
        point.card,
        files=files,
        corrupt_files=corrupt_files,
        datagrams=sent,
        lost=lost,
        duplicated=duplicated,
        corrupt=corrupt,
        checksum_errors=_checksum_errors(scene) - before,
        iperf_runs=runs,
        iperf_tcp_mbps=min(rates),
        iperf_udp_lost=udp_lost,
    )


def _ways(scene: Stage) -> Iterator[tuple[int, Side, Side]]:
    for version in _ADDRESSES:
        yield version, scene.left, scene.right
        yield version, scene.right, scene.left


def _end(side: Side, version: int) -> End:
    return End(side.namespace, _ADDRESSES[version][side.name])


def _checksum_errors(scene: Stage) -> int:
    return sum(checksum_errors(side.namespace) for side in scene.sides)


def main(argv: Sequence[str] | None = None) -> int:
    options = _options().parse_args(argv)
    wanted = points(options.step)
    found = {entry.point: entry for entry in _read(options.results)}
    until = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
    missing = [point for point in wanted if point not in found or found[point].failure]

    def done(entry: Found) -> None:
        found[entry.point] = entry
        if options.results:
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(entry)) + "\n")
        there = sum(point in found for point in wanted)
        _err.print(f"{there}/{len(wanted)} {entry.point}: {_words(entry)}", highlight=False, markup=False)

    run(missing, done, until)
    entries = [found[point] for point in sorted(found)]
    summary = summarize(entries, len(wanted))
    if options.json:
        print(json.dumps({"summary": summary, "points": [asdict(entry) for entry in entries]}, indent=2))
    else:
        show(Console(), entries, summary)
    return 0 if all(entry.good for entry in entries) else 1


def summarize(entries: Sequence[Found], wanted: int) -> dict[str, int]:
    """Sums over all points that were tried, of `wanted`."""
    names = ("files", "corrupt_files", "datagrams", "lost", "duplicated", "corrupt", "checksum_errors", "iperf_runs")
    sums = {name: sum(getattr(entry, name) for entry in entries) for name in names}
    failed = sum(bool(entry.failure) for entry in entries)
    return {"points": len(entries) - failed, "of": wanted, "failed": failed, **sums}


def show(console: Console, entries: Sequence[Found], summary: dict[str, int]) -> None:
    """One row a point, and the sums."""
    headings = ("wire", "card", "files", "corrupt", "sent", "lost", "twice", "corrupt", "checksum", "TCP Mbit/s")
    table = Table(*headings, box=None, caption="both families, both ways; TCP: the slowest of four iperf3 runs")
    for entry in entries:
        if entry.failure:
            table.add_row(f"{entry.wire:,}", f"{entry.card:,}", f"failed: {entry.failure}")
            continue
        counts = (entry.files, entry.corrupt_files, entry.datagrams, entry.lost, entry.duplicated, entry.corrupt)
        numbers = (entry.wire, entry.card, *counts, entry.checksum_errors, round(entry.iperf_tcp_mbps))
        table.add_row(*(f"{number:,}" for number in numbers), style=None if entry.good else "bold red")
    console.print(table)
    console.print(", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in summary.items()), highlight=False)


def _words(entry: Found) -> str:
    if entry.failure:
        return f"failed: {entry.failure}"
    return (
        f"{entry.files} files, {entry.corrupt_files} corrupt; {entry.datagrams:,} datagrams, {entry.lost} lost, "
        f"{entry.duplicated} twice, {entry.corrupt} corrupt; {entry.checksum_errors} wrong checksums; "
        f"{entry.iperf_runs} iperf3 runs, TCP {entry.iperf_tcp_mbps:,.0f} Mbit/s, UDP {entry.iperf_udp_lost} lost"
    )


def _read(results: Path | None) -> list[Found]:
    if results is None or not results.exists():
        return []
    return [Found(**json.loads(line)) for line in results.read_text(encoding="utf-8").splitlines()]


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.matrix", description=__doc__)
    parser.add_argument("--step", type=int, default=STEP, help=f"between the MTUs ({STEP})")
    parser.add_argument("--results", type=Path, metavar="FILE", help="keep each point there, and skip those it has")
    parser.add_argument("--minutes", type=float, default=0.0, help="begin no point after so long (0: go to the end)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
