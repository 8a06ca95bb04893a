"""What IPsec costs, and what it does when charon dies: `python -m benchmarks.ipsec`.

Two members on one wire, in User-Mode Linux, which has ESP wherever this runs: throughput with IPsec on and off in turn
through the same tunnel, charon killed during a flood of pings, keys changed during a stream of datagrams (see
`benchmarks.protected`). A kernel in a kernel is slow: only ratios of one run mean something.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.report import FIGURES
from ipop_core.lab import LabError
from ipop_core.lab.uml import OUTPUT_FILE, run_in_uml, uml_right

BOOT_SECONDS: Final = 1200.0
SHOWN: Final = ("tcp_mbps", "udp_kpps", "rtt_us", "cpu_s_per_gbit")
_FIGURES_FILE: Final = "figures.json"
_SHOWN_CHARACTERS: Final = 50_000
"""Of what a run that failed printed: logs, and the associations of both kernels."""
_err = Console(stderr=True)


def main(argv: Sequence[str] | None = None) -> int:
    options = _options().parse_args(argv)
    right = uml_right()
    if not right:
        _err.print(right.reason)
        return 2
    try:
        found = in_uml(options.rounds, options.seconds)
    except LabError as error:
        _err.print(str(error), highlight=False, markup=False)
        return 1
    conditions = {"rounds": options.rounds, "seconds": options.seconds, "cores": os.cpu_count()}
    summary = {**summarize(found), "conditions": conditions}
    if options.json:
        print(json.dumps(summary, indent=2))
    else:
        show(Console(), summary)
    return 0


def in_uml(rounds: int, seconds: int) -> dict[str, Any]:
    """One boot for everything. Raises LabError with what the measurement printed last."""
    with tempfile.TemporaryDirectory(prefix="ipop-bench-") as folder:
        shared = Path(folder)
        figures, output = shared / _FIGURES_FILE, shared / OUTPUT_FILE
        command = [sys.executable, "-m", "benchmarks.protected", str(rounds), str(seconds), str(figures)]
        env = {"PYTHONDONTWRITEBYTECODE": "1"}
        root = Path(__file__).parents[1]
        status = run_in_uml(command, shared=shared, folder=root, env=env, timeout=BOOT_SECONDS)
        if status or not figures.exists():
            said = output.read_text(errors="replace")[-_SHOWN_CHARACTERS:]
            raise LabError(f"exit code {status} in User-Mode Linux:\n{said}")
        found: dict[str, Any] = json.loads(figures.read_text())
        return found


def summarize(found: Mapping[str, Any]) -> dict[str, Any]:
    """Medians with IPsec on and off, the median of each round's ratio, and what the faults cost."""
    rows = {switch: _medians(found[switch]) for switch in ("on", "off")}
    pairs = list(zip(found["on"], found["off"], strict=True))
    ratio = {name: _rounded(statistics.median(on[name] / off[name] for on, off in pairs)) for name in SHOWN}
    faults = {part: {name: _rounded(value) for name, value in found[part].items()} for part in ("killed", "rekeyed")}
    runs = {switch: [{name: _rounded(run[name]) for name in SHOWN} for run in found[switch]] for switch in rows}
    return {**rows, "ratio": ratio, **faults, "runs": runs}


def _medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: _rounded(statistics.median(run[name] for run in runs)) for name in SHOWN}


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.3g}")


def show(console: Console, summary: Mapping[str, Any]) -> None:
    table = Table("", *(FIGURES[name][0] for name in SHOWN), box=None)
    for row, title in (("on", "IPsec on"), ("off", "IPsec off"), ("ratio", "on / off")):
        table.add_row(title, *(f"{summary[row][name]:g}" for name in SHOWN))
    console.print(table)
    killed, rekeyed = summary["killed"], summary["rekeyed"]
    console.print(
        f"charon killed during a flood: {killed['lost']} of {killed['sent']} pings lost, longest silence "
        f"{killed['flowing_after_s']:g} s, new keys after {killed['keys_after_s']:g} s; {killed['plaintext']} packets "
        f"could be read, {killed['esp']} were ESP, {killed['uncaptured']} were missed by the capture",
        highlight=False,
    )
    console.print(
        f"keys changed {rekeyed['changes']} times: {rekeyed['lost']} of {rekeyed['sent']} datagrams lost",
        highlight=False,
    )


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ipsec", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of IPsec on and off (3)")
    parser.add_argument("--seconds", type=int, default=5, help="of each TCP and UDP run (5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
