"""Many real nodes on one machine: one ring, everyone finds everyone, some are killed, the rest reach each other.

Every node is a controller with its modules in processes, in a network namespace of its own on one segment; the first is
the bootstrap. Needs root (or what `ipop doctor` says of namespaces and TUN) and about 100 MB of memory a node.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.bare_overlay import ask
from ipop_core.demo import programs
from ipop_core.demo.memory import PROC, family, pss_mb
from ipop_core.demo.node import Node, stop
from ipop_core.errors import BusError
from ipop_core.lab import Host, Laboratory, LabTimeoutError

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus

PORT: Final = 4741
NETWORK: Final = IPv4Network("198.18.0.0/16")
PATIENCE: Final = 120.0
NEIGHBOURS: Final = Path("/proc/sys/net/ipv4/neigh/default")
TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Member:
    node: Node
    host: Host
    address: str

    @property
    def pid(self) -> int:
        assert self.node.process is not None
        return self.node.process.pid


def main() -> None:
    wanted = _options().parse_args()
    print(f"seed {wanted.seed}")
    figures = run(wanted.nodes, wanted.kill, wanted.seed, wanted.seconds)
    if wanted.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:24} {value}")


def run(count: int, kill: int, seed: int, seconds: float) -> dict[str, Any]:
    """Times are in seconds; CPU in percent of one core and memory in MB are a node's, all its processes together."""
    chance = random.Random(seed)
    with _room_for_neighbours(count), _members(count) as members:
        begun = time.monotonic()
        for member in members:
            member.node.start(programs.own("ipop-controller"), "-c", member.node.folder / "controller.json")
        ids = {member.address: _until_placed(member, begun) for member in members}
        formed = time.monotonic()
        answers = asyncio.run(_all_lookups(members, ids))
        resolved = time.monotonic()
        before = [_cpu_seconds(member.pid) for member in members]
        time.sleep(seconds)
        idle = [100 * (_cpu_seconds(m.pid) - spent) / seconds for m, spent in zip(members, before, strict=True)]
        memory = [size for member in members if (size := pss_mb(member.pid)) is not None]
        dead = chance.sample(members, kill)
        for member in dead:
            os.kill(member.pid, signal.SIGKILL)
        killed = time.monotonic()
        left = [member for member in members if member not in dead]
        silent = _reach(left, killed + PATIENCE)
        return {
            "nodes": count,
            "seed": seed,
            "formed_s": round(formed - begun, 1),
            "lookups": dict(answers),
            "lookups_s": round(resolved - formed, 1),
            "idle_cpu_percent_mean": round(sum(idle) / count, 2),
            "idle_cpu_percent_most": round(max(idle), 2),
            "pss_mb_mean": round(sum(memory) / len(memory), 1) if memory else None,
            "killed": kill,
            "pairs": len(left) * (len(left) - 1),
            "pairs_silent": silent,
            "all_reached_s": None if silent else round(time.monotonic() - killed, 1),
        }


@contextmanager
def _room_for_neighbours(count: int) -> Iterator[None]:
    """The kernel holds one table of neighbours for all namespaces of a machine, by default 1,024 entries.

    Forty nodes that all talk to each other need more, on the card and on the segment; what doesn't fit is silent.
    """
    files = [NEIGHBOURS / f"gc_thresh{number}" for number in (3, 2, 1)]
    before = [file.read_text() for file in files]
    for file, text in zip(files, before, strict=True):
        file.write_text(str(max(int(text), 4 * count * count)))
    try:
        yield
    finally:
        for file, text in reversed(list(zip(files, before, strict=True))):
            file.write_text(text)


@contextmanager
def _members(count: int) -> Iterator[list[Member]]:
    with Laboratory() as lab:
        public = lab.segment(network=NETWORK)
        hosts = [lab.host(f"n{number}", public) for number in range(1, count + 1)]
        members = []
        for number, host in enumerate(hosts, start=1):
            folder = lab.folder / host.name
            folder.mkdir()
            address = f"192.168.10.{number}"
            modules = {
                "tincan": {"address": f"{address}/24"},
                "topology": {},
                "signal": {"bootstraps": [f"{hosts[0].address}:{PORT}"]},
                "logger": {},
            }
            document = {"node": {"name": host.name}, "namespace": "forty", "modules": modules}
            (folder / "controller.json").write_text(json.dumps(document))
            members.append(Member(Node(host.name, host.name, host, folder), host, address))
        try:
            yield members
        finally:
            stop([member.node for member in members])


def _until_placed(member: Member, begun: float) -> str:
    """Wait until a node is in the ring and its address is registered; its id."""
    while True:
        status = ask(member.node, "topology", "status")
        if status["joined"] and any(item["state"] == "registered" for item in status["registered"]):
            return str(ask(member.node, "core", "status")["node"])
        if time.monotonic() > begun + PATIENCE:
            raise LabTimeoutError(f"{member.node.name} has not joined: {status}\n{member.node.log()}")
        time.sleep(0.1)


async def _all_lookups(members: list[Member], ids: dict[str, str]) -> Counter[str]:
    """Everyone looks up everybody else, past the cache, one after the other.

    A lookup costs about ten milliseconds of CPU, all nodes on its way together: 40 at once keep two cores busy already.
    """
    answers = Counter[str](right=0, wrong=0, failed=0)

    def lookups(member: Member) -> Callable[[Bus], Any]:
        async def work(bus: Bus) -> None:
            for address in ids.keys() - {member.address}:
                try:
                    found = (await bus.request("topology", "resolve", {"address": address, "fresh": True})).body
                except BusError:
                    answers["failed"] += 1
                    continue
                is_right = found["node"] == ids[address]
                answers["right" if is_right else "failed" if found["node"] is None else "wrong"] += 1

        return work

    await asyncio.gather(*(member.node.ask(lookups(member), patience=PATIENCE) for member in members))
    return answers


def _reach(members: list[Member], deadline: float) -> int:
    """Real pings between all pairs, those without an answer again and again; how many pairs stayed silent."""
    with ThreadPoolExecutor(len(members)) as pool:
        return sum(pool.map(lambda member: _reach_from(member, members, deadline), members))


def _reach_from(member: Member, members: list[Member], deadline: float) -> int:
    missing = [other.address for other in members if other is not member]
    while missing and time.monotonic() < deadline:
        missing = [
            address
            for address in missing
            if member.host.run(["ping", "-n", "-q", "-c", "1", "-W", "3", address], check=False).returncode
        ]
    return len(missing)


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its descendants, so far."""
    total = 0
    for member in family(pid):
        fields = (PROC / str(member) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forty", description=__doc__)
    parser.add_argument("--nodes", type=int, default=40)
    parser.add_argument("--kill", type=int, default=10, help="with SIGKILL (10)")
    parser.add_argument("--seconds", type=float, default=20.0, help="over which the idle nodes' CPU is taken (20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    main()
