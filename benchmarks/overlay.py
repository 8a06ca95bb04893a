"""The overlay in virtual time: `python -m benchmarks.overlay --nodes 1000 --json`.

Every run grows a ring by the join protocol alone, of the product's own topology machines, and measures it; with
`--whole` of whole nodes, links, handshakes and all, with a cheap cipher. The same seed gives the same figures.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import Final, get_args

from rich.console import Console
from rich.table import Table

from benchmarks.overlay_net import scenarios
from benchmarks.overlay_net.growing import Overlay
from benchmarks.overlay_net.members import Kind
from benchmarks.overlay_net.scenarios import Figures, measured

AIMS: Final = {
    "hops_mean": "3.4 or less at 4,096",
    "links_mean": "at most 25 at 4,096",
    "join_ms_p50": "under 2500 at 1,000",
    "lookup_success": "1",
    "bytes_per_node_s": "under 300",
    "deaths_ring_s": "under 60 at 1,000",
    "deaths_success_after": "1",
    "churn_success": "0.999 at 1,000",
    "churn_wrong": "0",
    "merge_s": "under 60, two of 500",
    "partition_one_ring_s": "under 60, two of 500",
    "partition_wrong": "0",
    "partition_success_after": "1",
    "liars_secret_wrong": "0",
    "liars_authority_wrong": "0",
    "deaths_after_wrong": "0",
    "cpu_s": "under 600 at 4,096",
    "memory_gb": "under 6 at 4,096",
}
STANDING: Final[dict[str, Callable[[Overlay], Figures]]] = {
    "routes": scenarios.routes,
    "idle": scenarios.idle,
    "lookups": scenarios.lookups,
    "joins": scenarios.joins,
    "liars": scenarios.liars,
    "churn": scenarios.churn,
    "deaths": scenarios.deaths,
    "partition": scenarios.partition,
}
"""In this order: each one changes the ring more than the one before."""
USUAL: Final = ("routes", "idle", "lookups", "joins")


def main(argv: Sequence[str] | None = None) -> int:
    parser = _options()
    options = parser.parse_args(argv)
    if options.whole and (options.namespace != "open" or "liars" in options.scenario):
        parser.error("--whole: whole nodes are members of an open namespace, and none of them lies")
    # Nearly all objects live as long as the run: looking among them for cycles takes an eighth of the time.
    gc.disable()
    with redirect_stdout(sys.stderr):
        figures, cost = measured(lambda: _run(options))
    found: dict[str, object] = {"nodes": options.nodes, "seed": options.seed, **figures, **cost}
    if options.json:
        print(json.dumps(found))
    else:
        _show(found)
    return 0


def _run(options: argparse.Namespace) -> Figures:
    figures: Figures = {}
    standing = [name for name in STANDING if name in options.scenario]
    if standing:
        overlay = scenarios.grown(options.nodes, options.seed, kind=options.namespace, whole=options.whole)
        for name in standing:
            if name == "churn":
                figures |= scenarios.churn(overlay, options.minutes, told=options.bootstraps)
            else:
                figures |= STANDING[name](overlay)
    if "merge" in options.scenario:
        figures |= scenarios.merge(options.nodes, options.seed, whole=options.whole)
    return figures


def _show(found: dict[str, object]) -> None:
    table = Table("figure", "measured", "aim")
    for name, value in found.items():
        table.add_row(name, str(value), AIMS.get(name, ""))
    Console().print(table)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlay", description=__doc__)
    parser.add_argument("--nodes", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", nargs="+", choices=[*STANDING, "merge"], default=list(USUAL))
    parser.add_argument("--namespace", choices=get_args(Kind), default="open", help="kind of the nodes' namespace")
    parser.add_argument("--whole", action="store_true", help="whole nodes: about six times the CPU")
    parser.add_argument("--minutes", type=float, default=30.0, help="of churn")
    parser.add_argument("--bootstraps", type=int, default=1, help="that each newcomer in churn is told (1)")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
