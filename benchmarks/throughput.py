"""The data plane of this project and of its peers, side by side: `python -m benchmarks.throughput`.

Every tunnel gets a fresh stage for every run, and the runs are interleaved: all peers once, then all again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import picture, report
from benchmarks.measure import measure
from benchmarks.peers import PEERS, Peer
from benchmarks.report import Result
from benchmarks.stage import Conditions, stage
from ipop_core.lab import LabError, Namespace

_err = Console(stderr=True)


def main(argv: Sequence[str] | None = None) -> int:
    options = _options().parse_args(argv)
    conditions = Conditions(options.path == "relay", options.mtu, options.loss, options.delay)
    if conditions.relay and conditions.impaired:
        _options().error("--loss and --delay are for the direct path")
    peers = [peer for peer in PEERS if not options.peers or peer.name in options.peers]
    if options.install:
        _install([package for peer in peers if not peer.installed() for package in peer.packages])
    for peer in peers:
        if not peer.installed():
            _err.print(f"{peer.name} is missing: --install installs {', '.join(peer.packages)}")
    peers = [peer for peer in peers if peer.installed() and (peer.relays or not conditions.relay)]
    results = {peer.name: Result(peer.name, peer.version()) for peer in peers}
    for repeat in range(options.repeats):
        for peer in peers:
            _run(peer, results[peer.name], conditions, options)
            _err.print(f"{repeat + 1}/{options.repeats} {_progress(results[peer.name])}", highlight=False)
    _tell(list(results.values()), conditions, options)
    return 0 if all(result.runs for result in results.values()) else 1


def _run(peer: Peer, result: Result, conditions: Conditions, options: argparse.Namespace) -> None:
    try:
        with stage(conditions) as scene:
            tunnel = peer.start(scene)
            try:
                run = measure(scene, tunnel, options.seconds, options.congestion, search=not options.quick)
                result.runs.append(run)
                result.configuration = tunnel.configuration
                result.card_mtu = _mtu(scene.left.namespace, tunnel.card)
            finally:
                tunnel.stop()
    except LabError as error:
        result.failures.append(str(error))


def _mtu(namespace: Namespace, card: str) -> int:
    shown = json.loads(namespace.run(["ip", "-json", "link", "show", "dev", card]).stdout)
    return int(shown[0]["mtu"])


def _progress(result: Result) -> str:
    if not result.runs:
        return f"{result.name}: {result.failures[-1]}"
    run = result.runs[-1]
    return (
        f"{result.name}: {run.tcp_mbps:,.0f} Mbit/s, {run.udp_kpps:.1f} kpps, {run.udp_clean_kpps:.1f} kpps clean, "
        f"{run.rtt_us:.0f} µs, {run.cpu_s_per_gbit:.3f} s/Gbit"
    )


def _tell(results: list[Result], conditions: Conditions, options: argparse.Namespace) -> None:
    way = "one relay" if conditions.relay else "direct"
    title = f"{way}, path MTU {conditions.mtu}, {options.congestion}, {options.seconds} s x {options.repeats}"
    if conditions.impaired:
        title += f", {conditions.loss:g}% lost and {conditions.delay:g} ms each way"
    _err.print(report.table(results, title))
    for line in report.details(results):
        _err.print(line, highlight=False)
    if options.picture:
        options.picture.write_text(picture.draw(results, f"TCP through the tunnel, Mbit/s, {way}"), encoding="utf-8")
    if options.json:
        print(json.dumps(report.as_json(results, _conditions(conditions, options)), indent=2))


def _conditions(conditions: Conditions, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "path": options.path,
        "mtu": conditions.mtu,
        "loss_percent": conditions.loss,
        "delay_ms": conditions.delay,
        "congestion_control": options.congestion,
        "seconds": options.seconds,
        "cores": os.cpu_count(),
    }


def _install(packages: list[str]) -> None:
    debian = [package for package in packages if not package.startswith("pip:")]
    python = [package.removeprefix("pip:") for package in packages if package.startswith("pip:")]
    if debian:
        subprocess.run(["apt-get", "install", "-y", *debian], check=True, stdout=sys.stderr)
    if python:
        subprocess.run([sys.executable, "-m", "pip", "install", *python], check=True, stdout=sys.stderr)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    names = [peer.name for peer in PEERS]
    parser.add_argument("--peers", type=_names, default=[], metavar="A,B", help=f"of {', '.join(names)} (all)")
    parser.add_argument("--seconds", type=int, default=3, help="of each iperf3 run (3)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds through all peers (5)")
    parser.add_argument("--quick", action="store_true", help="don't look for the UDP rate that loses under 1%%")
    parser.add_argument("--path", choices=("direct", "relay"), default="direct", help="relay: a third node in between")
    parser.add_argument("--mtu", type=int, default=1500, help="of the wire (1500)")
    parser.add_argument(
        "--loss", type=float, default=0.0, metavar="PERCENT", help="by a router in user space, each way"
    )
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS", help="by the same router, each way")
    parser.add_argument("--congestion", default=_default_congestion(), help="TCP's congestion control (%(default)s)")
    parser.add_argument("--install", action="store_true", help="install the peers that are missing")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the result as SVG")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _names(text: str) -> list[str]:
    known = {peer.name for peer in PEERS}
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"no peer {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return names


def _default_congestion() -> str:
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()


if __name__ == "__main__":
    sys.exit(main())
