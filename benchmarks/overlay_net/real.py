"""A cluster of real nodes: controllers with their modules in processes, each in a network namespace on one segment.

Needs root (or what `ipop doctor` says of namespaces and TUN) and about 100 MB of memory a node.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.bare_overlay import ask
from benchmarks.overlay_net.together import PATIENCE, Answers
from ipop_core.demo import programs
from ipop_core.demo.memory import PROC, family, pss_mb
from ipop_core.demo.node import Node, stop
from ipop_core.errors import BusError
from ipop_core.lab import Host, Laboratory, LabTimeoutError

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus

PORT: Final = 4741
NETWORK: Final = IPv4Network("198.18.0.0/16")
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


class RealCluster:
    def __init__(self, members: list[Member], seconds: float) -> None:
        """`seconds` over which the CPU of idle nodes is taken; 0: not at all."""
        self._members = members
        self._seconds = seconds
        self._ids: dict[str, str] = {}

    def now(self) -> float:
        return time.monotonic()

    def form(self) -> None:
        begun = self.now()
        for member in self._members:
            member.node.start(programs.own("ipop-controller"), "-c", member.node.folder / "controller.json")
        self._ids = {member.address: _until_placed(member, begun) for member in self._members}

    def look_up(self, patience: float) -> Answers:
        return asyncio.run(_all_lookups(self._members, self._ids, patience))

    def rest(self) -> dict[str, Any]:
        """CPU in percent of one core and memory in MB are a node's, all its processes together."""
        if not self._seconds:
            return {}
        before = [_cpu_seconds(member.pid) for member in self._members]
        time.sleep(self._seconds)
        idle = [
            100 * (_cpu_seconds(member.pid) - spent) / self._seconds
            for member, spent in zip(self._members, before, strict=True)
        ]
        memory = [size for member in self._members if (size := pss_mb(member.pid)) is not None]
        return {
            "idle_cpu_percent_mean": round(sum(idle) / len(idle), 2),
            "idle_cpu_percent_most": round(max(idle), 2),
            "pss_mb_mean": round(sum(memory) / len(memory), 1) if memory else None,
        }

    def kill(self, chosen: Sequence[int]) -> None:
        dead = [self._members[number] for number in chosen]
        for member in dead:
            os.kill(member.pid, signal.SIGKILL)
        self._members = [member for member in self._members if member not in dead]

    def reach(self, patience: float) -> int:
        """Real pings between all pairs, those without an answer again and again."""
        deadline = self.now() + patience
        with ThreadPoolExecutor(len(self._members)) as pool:
            return sum(pool.map(lambda member: _reach_from(member, self._members, deadline), self._members))


@contextmanager
def real_cluster(nodes: int, seconds: float) -> Iterator[RealCluster]:
    with _room_for_neighbours(nodes), _members(nodes) as members:
        yield RealCluster(members, seconds)


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
            document = {"node": {"name": host.name}, "namespace": "together", "modules": modules}
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


async def _all_lookups(members: list[Member], ids: dict[str, str], patience: float) -> Answers:
    """Everyone looks up everybody else, past the cache, one after the other.

    A lookup costs about ten milliseconds of CPU, all nodes on its way together: 40 at once keep two cores busy already.
    """
    answers = Answers()
    deadline = time.monotonic() + patience

    async def ask_all(bus: Bus, missing: list[str], count: Counter[str]) -> list[str]:
        """Which of these addresses were not answered with their owner."""
        left = []
        for address in missing:
            found = await _resolve(bus, address)
            what = "right" if found == ids[address] else "failed" if found is None else "wrong"
            count[what] += 1
            if what != "right":
                left.append(address)
        return left

    def lookups(member: Member) -> Callable[[Bus], Any]:
        async def work(bus: Bus) -> None:
            missing = await ask_all(bus, sorted(ids.keys() - {member.address}), answers.first)
            while missing and time.monotonic() < deadline:
                missing = await ask_all(bus, missing, answers.again)
            answers.unresolved += len(missing)

        return work

    await asyncio.gather(*(member.node.ask(lookups(member), patience=2 * patience) for member in members))
    return answers


async def _resolve(bus: Bus, address: str) -> str | None:
    try:
        found: str | None = (await bus.request("topology", "resolve", {"address": address, "fresh": True})).body["node"]
    except BusError:
        return None
    return found


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
