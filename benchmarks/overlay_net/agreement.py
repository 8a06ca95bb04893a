"""One ring of whole nodes and in the models of it: `python -m benchmarks.overlay_net.agreement --nodes 256 --json`.

`full` are whole nodes with the real cipher and signatures, `cheap` the same with cheap ones, `thin` the topology alone
(`thin.py`). One seed gives all the same course of newcomers; the thin model's keys and so its ids are others. Ends
with 1 where a model's figure is farther from the whole nodes' than BOUNDS says.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.overlay_net import full, scenarios, thin
from benchmarks.overlay_net.growing import Overlay
from benchmarks.overlay_net.members import LEASE, Recipe
from benchmarks.overlay_net.scenarios import LATENCY, Figures, measured
from ipop_modules.topology.protocol.records import verify_p256

SETTLING: Final = 120.0
"""Seconds until whole nodes have let go the links that nobody wants; the thin model does that sooner."""
IDLE: Final = float(LEASE)
"""Nodes that came at the same time renew what they registered at the same time: a shorter time has it once or twice."""


@dataclass(frozen=True)
class Bound:
    """How far a figure may be from the whole nodes': a part of that, or so much."""

    part: float = 0.0
    amount: float = 0.0

    def holds(self, whole: float, model: float) -> bool:
        return abs(model - whole) <= self.part * abs(whole) + self.amount

    def __str__(self) -> str:
        return f"{self.part:.0%}" if self.part else f"{self.amount:g}"


BOUNDS: Final[dict[str, Bound]] = {
    "hops_mean": Bound(part=0.05),
    "links_mean": Bound(part=0.1),
    "bytes_per_node_s": Bound(part=0.15),
    "join_ms_p50": Bound(part=0.15),
    "lookup_success": Bound(amount=0.005),
    # When the last gap closes is a matter of chance: one seed from the next differs by as much.
    "deaths_ring_s": Bound(amount=15.0),
    "deaths_success_after": Bound(amount=0.005),
}
NEVER: Final = ("unreached", "lookup_wrong", "deaths_meanwhile_wrong", "deaths_after_wrong")
"""None of these, in any model."""


def full_network(seed: int) -> full.Network:
    return full.Network(seed, latency=LATENCY, recipe=Recipe(long_links=None, verify=verify_p256))


def cheap_network(seed: int) -> thin.Network:
    return scenarios.new_network(seed, whole=True)


MODELS: Final[dict[str, Callable[[int], thin.Network]]] = {
    "full": full_network,
    "cheap": cheap_network,
    "thin": scenarios.new_network,
}


def figures_of(network: thin.Network, nodes: int, *, newcomers: int = scenarios.NEWCOMERS) -> Figures:
    overlay = Overlay(network)
    overlay.grow(nodes)
    network.run(SETTLING)
    figures = scenarios.routes(overlay)
    figures |= scenarios.idle(overlay, seconds=IDLE)
    figures |= scenarios.lookups(overlay)
    figures |= scenarios.joins(overlay, newcomers)
    return figures | scenarios.deaths(overlay)


def faults(whole: Figures, model: Figures) -> list[str]:
    """What does not agree, a line each."""
    found = [
        f"{name}: {model[name]}, whole nodes {whole[name]}; may differ by {bound}"
        for name, bound in BOUNDS.items()
        if not bound.holds(_number(whole, name), _number(model, name))
    ]
    return found + [f"{name}: {model[name]}, expected 0" for name in NEVER if _number(model, name)]


def _number(figures: Figures, name: str) -> float:
    value = figures[name]
    return float("inf") if value is None else float(value)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlay_net.agreement", description=__doc__)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    gc.disable()  # as in benchmarks.overlay
    found: dict[str, Figures] = {}
    with redirect_stdout(sys.stderr):
        for name, make in MODELS.items():
            figures, cost = measured(lambda make=make: figures_of(make(options.seed), options.nodes))  # type: ignore[misc]  # mypy can't infer a lambda's default
            found[name] = figures | cost
    differs = {name: faults(found["full"], figures) for name, figures in found.items()}
    if options.json:
        print(json.dumps({"nodes": options.nodes, "seed": options.seed, **found, "differs": differs}))
    else:
        _show(f"{options.nodes} nodes, seed {options.seed}", found, differs)
    return int(any(differs.values()))


def _show(title: str, found: Mapping[str, Figures], differs: Mapping[str, list[str]]) -> None:
    table = Table(title, *found, "may differ by")
    for name in {name: None for figures in found.values() for name in figures}:
        bound = "0" if name in NEVER else str(BOUNDS.get(name, ""))
        table.add_row(name, *(str(figures.get(name, "")) for figures in found.values()), bound)
    console = Console()
    console.print(table)
    for model, lines in differs.items():
        for line in lines:
            console.print(f"{model} does not agree: {line}")
    if not any(differs.values()):
        console.print("all agree")


if __name__ == "__main__":
    sys.exit(main())
