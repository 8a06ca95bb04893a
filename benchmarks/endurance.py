"""Full load for a long time: `python -m benchmarks.endurance` (as root). Memory stays flat, and no piece is left over.

Two nodes of this project, under TCP and under floods of UDP in turn, both ways. After each slice the memory of a side's
processes is taken, and at the end, when nothing comes any more, the blocks of which only a part has come.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Console

from benchmarks.measure import iperf, memory_bytes, wait_for
from benchmarks.peers import Ipop, Tunnel
from benchmarks.peers.ipop import ask
from benchmarks.stage import Conditions, Side, Stage, stage

LOADS: Final[tuple[tuple[str, ...], ...]] = (
    ("-C", "cubic"),
    ("-u", "-l", "1200", "-b", "0", "-w", "4M"),
    ("-C", "cubic", "-R"),
    ("-u", "-l", "1200", "-b", "0", "-w", "4M", "-R"),
)
QUIET: Final = 3.0
"""Seconds after which every block that is not whole has been given up (joining.DEADLINE)."""
_err = Console(stderr=True)


@dataclass(frozen=True)
class Sample:
    """After so many seconds: memory of each side's processes in MB (proportional set size)."""

    seconds: float
    left_mb: float
    right_mb: float


def main(argv: Sequence[str] | None = None) -> int:
    options = _options().parse_args(argv)
    with stage(Conditions()) as scene:
        tunnel = Ipop().start(scene)
        try:
            wait_for(scene, tunnel)
            samples = load(scene, tunnel, options.minutes * 60, options.slice)
            time.sleep(QUIET)
            left_over = {side.name: status(side)["traffic"]["unfinished"] for side in (scene.left, scene.right)}
        finally:
            tunnel.stop()
    result = {
        "growth_mb_per_hour": growth(samples),
        "unfinished": left_over,
        "samples": [asdict(one) for one in samples],
    }
    print(json.dumps(result, indent=2) if options.json else f"{result['growth_mb_per_hour']}, {left_over}")
    return 0 if not any(count for side in left_over.values() for count in side.values()) else 1


def load(scene: Stage, tunnel: Tunnel, seconds: float, pause: int) -> list[Sample]:
    """Load the tunnel for so long, in slices of `pause` seconds with a sample after each."""
    begun = time.monotonic()
    samples: list[Sample] = []
    while time.monotonic() - begun < seconds:
        kind = LOADS[len(samples) % len(LOADS)]
        report = iperf(scene, tunnel.right, [*kind, "-t", str(pause)])
        megabytes = (memory_bytes(side) / 1e6 for side in (scene.left, scene.right))
        samples.append(Sample(round(time.monotonic() - begun, 1), *(round(one, 2) for one in megabytes)))
        carried = report["end"].get("sum_received") or report["end"]["sum"]
        _err.print(f"{samples[-1]}, {' '.join(kind)}: {carried['bits_per_second'] / 1e6:,.0f} Mbit/s", highlight=False)
    return samples


def growth(samples: Sequence[Sample]) -> dict[str, float]:
    """The slope of each side's memory over the second half, when all that is made once has been made; MB an hour."""
    later = samples[len(samples) // 2 :]
    times = [one.seconds for one in later]
    sides = {"left": [one.left_mb for one in later], "right": [one.right_mb for one in later]}
    return {
        name: round(statistics.linear_regression(times, values).slope * 3600, 2) if len(later) > 1 else 0.0
        for name, values in sides.items()
    }


def status(side: Side) -> dict[str, Any]:
    """What the node's link role says of itself."""
    found: dict[str, Any] = ask(side, "status")["roles"]["link"]
    return found


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of load (10)")
    parser.add_argument("--slice", type=int, default=15, help="seconds of one kind of load (15)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
