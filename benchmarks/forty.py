"""Many nodes on one machine: one ring, everyone finds everyone, some are killed, the rest reach each other.

Every node is a controller with its modules in processes, in a network namespace of its own. `--simulated` plays the
very same with whole nodes in virtual time, where there is no CPU to measure.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import redirect_stdout

from benchmarks.overlay_net.real import real_cluster
from benchmarks.overlay_net.together import play
from benchmarks.overlay_net.virtual import VirtualCluster


def main() -> None:
    wanted = _options().parse_args()
    with redirect_stdout(sys.stderr):
        print(f"seed {wanted.seed}")
        if wanted.simulated:
            figures = play(VirtualCluster(wanted.nodes, wanted.seed), wanted.nodes, wanted.kill, wanted.seed)
        else:
            with real_cluster(wanted.nodes, wanted.seconds) as cluster:
                figures = play(cluster, wanted.nodes, wanted.kill, wanted.seed)
    if wanted.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:24} {value}")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forty", description=__doc__)
    parser.add_argument("--nodes", type=int, default=40)
    parser.add_argument("--kill", type=int, default=10, help="with SIGKILL (10)")
    parser.add_argument("--seconds", type=float, default=20.0, help="over which the idle nodes' CPU is taken (20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--simulated", action="store_true", help="in virtual time, with no process")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    main()
