"""The same ring of whole nodes and in the thin model: `python -m benchmarks.overlay_net.agreement --nodes 256 --json`.

One seed gives both the same course of newcomers; keys and so ids differ, as whole nodes have real ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from rich.console import Console
from rich.table import Table

from benchmarks.overlay_net import full, scenarios, thin
from benchmarks.overlay_net.growing import Overlay
from benchmarks.overlay_net.members import Recipe
from benchmarks.overlay_net.scenarios import LATENCY, Figures, measured
from ipop_modules.topology.protocol.records import verify_p256

SETTLING = 120.0
"""Seconds until whole nodes have let go the links that nobody wants; the thin model does that sooner."""


def thin_figures(nodes: int, seed: int) -> Figures:
    return _figures(thin.Network(seed, latency=LATENCY, recipe=Recipe(long_links=None)), nodes)


def full_figures(nodes: int, seed: int) -> Figures:
    recipe = Recipe(long_links=None, verify=verify_p256)
    return _figures(full.Network(seed, latency=LATENCY, recipe=recipe), nodes)


def _figures(network: thin.Network, nodes: int) -> Figures:
    def run() -> Figures:
        overlay = Overlay(network)
        overlay.grow(nodes)
        network.run(SETTLING)
        figures: Figures = {}
        for scenario in (scenarios.routes, scenarios.idle, scenarios.lookups, scenarios.joins):
            figures |= scenario(overlay)
        return figures

    figures, cost = measured(run)
    return figures | cost


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlay_net.agreement", description=__doc__)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    with redirect_stdout(sys.stderr):
        whole, model = full_figures(options.nodes, options.seed), thin_figures(options.nodes, options.seed)
    if options.json:
        print(json.dumps({"nodes": options.nodes, "seed": options.seed, "full": whole, "thin": model}))
        return 0
    table = Table(f"{options.nodes} nodes, seed {options.seed}", "whole nodes", "thin model")
    for name in {**whole, **model}:
        table.add_row(name, str(whole.get(name, "")), str(model.get(name, "")))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
