"""What a node costs that has nothing to do: `python -m benchmarks.footprint`.

Two nodes with a direct link, of this project (its default modules, with the monitor, and with the resolver, too), of
nebula and of EasyTier, each on a fresh stage in turn: memory and processor time of a node, and how long it takes from
the start of both until the first ping comes through.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.measure import cpu_seconds, memory_bytes
from benchmarks.peers import EasyTier, Ipop, Nebula, Peer
from benchmarks.stage import Conditions, Stage, stage
from ipop_core.lab import LabTimeoutError

NODES: Final[tuple[Peer, ...]] = (
    Ipop(),
    Ipop("ipop with monitor", {"monitor": {}}),
    Ipop("ipop with monitor and resolver", {"monitor": {}, "resolver": {}}),
    Nebula(),
    EasyTier(),
)
PATIENCE: Final = 30.0
SETTLING: Final = 8.0
"""Seconds after which what a start brings is over."""
_err = Console(stderr=True)


@dataclass(frozen=True)
class Footprint:
    """One run; of the two nodes the mean."""

    pss_mb: float
    """Proportional set size of all its processes."""
    idle_cpu_percent: float
    """Of one core."""
    start_ms: float
    """From the start of both nodes until a ping comes through."""


def main(argv: Sequence[str] | None = None) -> int:
    options = _options().parse_args(argv)
    nodes = [node for node in NODES if node.installed()]
    for node in NODES:
        if node not in nodes:
            _err.print(f"{node.name} is missing: benchmarks.throughput --install installs it")
    runs: dict[str, list[Footprint]] = {node.name: [] for node in nodes}
    for _ in range(options.repeats):
        for node in nodes:
            with stage(Conditions()) as scene:
                runs[node.name].append(measure(scene, node, options.seconds))
            _err.print(f"{node.name}: {runs[node.name][-1]}", highlight=False)
    results = {node.name: {"version": node.version(), **middle(runs[node.name])} for node in nodes}
    if options.json:
        conditions = {"seconds": options.seconds, "repeats": options.repeats, "cores": os.cpu_count()}
        print(json.dumps({**results, "conditions": conditions}, indent=2))
    else:
        Console().print(_table(results))
    return 0


def measure(scene: Stage, node: Peer, seconds: float) -> Footprint:
    """Start it on both sides, wait until it is idle, and watch it for so long. Raises LabError."""
    begun = time.monotonic()
    tunnel = node.start(scene)
    try:
        _until_answered(scene, tunnel.right)
        started = time.monotonic() - begun
        time.sleep(SETTLING)
        sides = (scene.left, scene.right)
        before, at = sum(map(cpu_seconds, sides)), time.monotonic()
        time.sleep(seconds)
        used = (sum(map(cpu_seconds, sides)) - before) / (time.monotonic() - at)
        memory = sum(map(memory_bytes, sides))
    finally:
        tunnel.stop()
    return Footprint(memory / 2 / 1e6, used / 2 * 100, started * 1000)


def middle(runs: Sequence[Footprint]) -> dict[str, float]:
    """The median of each figure."""
    shown = [asdict(run) for run in runs]
    return {figure: round(statistics.median(run[figure] for run in shown), 2) for figure in shown[0]}


def _until_answered(scene: Stage, address: str) -> None:
    deadline = time.monotonic() + PATIENCE
    command = ["ping", "-c1", "-W0.2", address]
    while scene.left.namespace.run(command, check=False).returncode:
        if time.monotonic() > deadline:
            raise LabTimeoutError(f"no answer within {PATIENCE:g} s")
        time.sleep(0.02)


def _table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table("node", "version", "PSS, MB", "idle CPU, % of a core", "first ping after, ms", box=None)
    for name, found in results.items():
        figures = (f"{found['pss_mb']:.1f}", f"{found['idle_cpu_percent']:.2f}", f"{found['start_ms']:.0f}")
        table.add_row(name, str(found["version"]), *figures)
    return table


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for which an idle node is watched (20)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds through all nodes (3)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
