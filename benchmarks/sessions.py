"""What sessions cost that carry nothing: `python -m benchmarks.sessions` (as root).

- CPU seconds a Gbit of TCP, sent and received, of a node with one session and of another with 1,000, in turn, both
  fresh in each round. The further 999 are played by one process, with a UDP socket for each (`benchmarks.crowd`).
- The share of a core that a node uses, all its processes together, while it is idle and has direct sessions with 20
  idle nodes, each in a namespace of its own.

The exit code is 1 where an aim is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import crowd
from benchmarks.measure import cpu_seconds, iperf, wait_for
from benchmarks.peers import Ipop, Tunnel
from benchmarks.peers.ipop import NAMESPACE, PORT, ask
from benchmarks.stage import CROWD_LEFT, Conditions, Side, Stage, stage
from ipop_core.lab import LabError, Laboratory, LabTimeoutError

MOST_RATIO: Final = 1.15
MOST_IDLE: Final = 1.0
"""Percent of a core."""
SETTLING: Final = 5.0
CROWD_SETTLING: Final = 20.0
IDLE_SETTLING: Final = 60.0
"""Seconds after which what a start and new sessions bring is over; with nodes that have a ring, too."""
PATIENCE: Final = 90.0
INNER_NETWORK: Final = IPv4Network("10.98.0.0/24")
_err = Console(stderr=True)


def main(argv: Sequence[str] | None = None) -> int:
    options = _options().parse_args(argv)
    busy: dict[int, list[float]] = {1: [], options.sessions: []}
    for number in range(options.rounds):
        with scene(0) as one, scene(options.sessions - 1) as many:
            for (where, tunnel), (count, costs) in zip((one, many), busy.items(), strict=True):
                costs.append(cost(where, tunnel, options.seconds))
                _err.print(f"{number + 1}/{options.rounds} {count}: {costs[-1]:.4f} s/Gbit", highlight=False)
    result = summarize(busy, options.peers, idle_share(options.peers, options.idle_seconds))
    if options.json:
        conditions = {"seconds": options.seconds, "idle_seconds": options.idle_seconds, "cores": os.cpu_count()}
        print(json.dumps({**result, "conditions": conditions}, indent=2))
    else:
        Console().print(_table(result))
    return 0 if not result["missed"] else 1


@contextmanager
def scene(further: int) -> Iterator[tuple[Stage, Tunnel]]:
    """Two nodes with a direct link, and so many further members in session with the left one. Raises LabError."""
    with stage(Conditions(crowd=True)) as where:
        tunnel = Ipop().start(where)
        crowded: Popen[bytes] | None = None
        try:
            wait_for(where, tunnel)
            crowded = _gather(where, further) if further else None
            time.sleep(CROWD_SETTLING if further else SETTLING)
            _check(where.left, further + 1)
            yield where, tunnel
            _check(where.left, further + 1)
        finally:
            if crowded is not None:
                crowded.kill()
                crowded.wait()
            tunnel.stop()


def cost(where: Stage, tunnel: Tunnel, seconds: int) -> float:
    """CPU seconds of the left node for each gigabit that it sends and receives."""
    before, gbit = cpu_seconds(where.left), 0.0
    for direction in ([], ["-R"]):
        report = iperf(where, tunnel.right, ["-t", str(seconds), *direction])
        gbit += report["end"]["sum_received"]["bytes"] * 8 / 1e9
    return (cpu_seconds(where.left) - before) / gbit


def idle_share(count: int, seconds: float) -> float:
    """Percent of a core that one of `count` + 1 idle nodes uses, which all others have greeted. Raises LabError."""
    with Laboratory() as lab:
        segment = lab.segment()
        addresses = {f"idle-{number}": [f"{INNER_NETWORK[number]}/24"] for number in range(1, count + 2)}
        sides = []
        for name in addresses:
            host, folder = lab.host(name, segment), lab.folder / name
            folder.mkdir()
            sides.append(Side(name, host.namespace, host.address, folder))
        node = Ipop(addresses=addresses)
        first, *others = sides
        for side in sides:
            node.start_one(side, [] if side is first else [f"{first.address}:{PORT}"])
        for side in others:
            _until(partial(_answers, side, str(INNER_NETWORK[1])))
        _until(lambda: _direct(first) >= count)
        time.sleep(IDLE_SETTLING)
        before, begun = cpu_seconds(first), time.monotonic()
        time.sleep(seconds)
        used = cpu_seconds(first) - before
        elapsed = time.monotonic() - begun
        _check(first, count)
    return used / elapsed * 100


def summarize(busy: Mapping[int, Sequence[float]], peers: int, idle: float) -> dict[str, Any]:
    """Medians, the median of the pairs' ratios, and which aims are missed; `idle` in percent of a core."""
    one, many = busy.values()
    ratio = statistics.median(with_many / with_one for with_one, with_many in zip(one, many, strict=True))
    aims = {"ratio": ratio <= MOST_RATIO, "idle": idle < MOST_IDLE}
    return {
        "cpu_s_per_gbit": {str(count): round(statistics.median(costs), 4) for count, costs in busy.items()},
        "ratio": round(ratio, 3),
        "idle_peers": peers,
        "idle_percent": round(idle, 2),
        "missed": [name for name, is_met in aims.items() if not is_met],
        "runs": {str(count): [round(each, 4) for each in costs] for count, costs in busy.items()},
    }


def _gather(where: Stage, count: int) -> Popen[bytes]:
    assert where.crowd is not None
    target = f"{CROWD_LEFT}:{PORT}"
    process = where.crowd.namespace.popen(
        [sys.executable, "-m", "benchmarks.crowd", str(count), target, NAMESPACE],
        stdout=PIPE,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdout is not None
    if process.stdout.readline().decode().strip() != crowd.READY:
        raise LabError("the crowd ended before it had its sessions")
    return process


def _answers(side: Side, address: str) -> bool:
    return not side.namespace.run(["ping", "-c1", "-W1", address], check=False).returncode


def _direct(side: Side) -> int:
    return sum(peer["path"] == "direct" for peer in ask(side, "peers"))


def _check(side: Side, count: int) -> None:
    """Raise LabError unless the node has so many direct sessions."""
    if (direct := _direct(side)) < count:
        raise LabError(f"{direct} direct sessions, expected {count}")


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            raise LabTimeoutError(f"the nodes have not met within {PATIENCE:g} s")
        time.sleep(0.2)


def _table(result: Mapping[str, Any]) -> Table:
    shown = Table("", "", "aim", box=None)
    for count, found in result["cpu_s_per_gbit"].items():
        shown.add_row(f"CPU s a Gbit, sessions: {count}, one busy", f"{found:.4f}", "")
    shown.add_row("ratio, median of pairs", f"{result['ratio']:.3f}", f"at most {MOST_RATIO}")
    share = f"{result['idle_percent']:.2f}"
    shown.add_row(f"{result['idle_peers']} idle peers, % of a core", share, f"under {MOST_IDLE:g}")
    return shown


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sessions", description=__doc__)
    parser.add_argument("--sessions", type=int, default=1000, help="in the table, one of them busy (1000)")
    parser.add_argument("--rounds", type=int, default=5, help="of one session and many, with fresh nodes (5)")
    parser.add_argument("--seconds", type=int, default=2, help="of each iperf3 run (2)")
    parser.add_argument("--peers", type=int, default=20, help="that are idle (20)")
    parser.add_argument("--idle-seconds", type=float, default=30.0, help="for which an idle node is watched (30)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
