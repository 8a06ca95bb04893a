"""What is measured of a tunnel: TCP and UDP throughput, round trips, and the processor time that the tunnel takes.

Load comes from iperf3, from the left side to the right. Processor time is that of all processes of a side's namespace
but the tools of the measurement (user and system, /proc/PID/stat); the kernel's work for a packet that a tunnel sends
is charged to the tunnel.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any, Final

from benchmarks.peers import Tunnel
from benchmarks.stage import Side, Stage
from ipop_core.lab import LabError, LabTimeoutError, Namespace

UDP_PAYLOAD: Final = 1200
CLEAN_LOSS: Final = 0.01
_SEARCH_STEPS: Final = 6
_SEARCH_SECONDS: Final = 1
_SOCKET_BUFFER: Final = "4M"
"""The default holds some 90 datagrams: the figures would be those of iperf3, not of the tunnel."""
_PINGS: Final = 100
_PATIENCE: Final = 30.0
_SETTLING: Final = 0.5
_TOOLS: Final = frozenset({"iperf3", "ping", "nsenter"})
_TICK: Final = os.sysconf("SC_CLK_TCK")
_REPLY: Final = re.compile(r"time=([0-9.]+) ms")


@dataclass(frozen=True)
class Run:
    """One run of one tunnel."""

    tcp_mbps: float
    udp_kpps: float
    """Datagrams of UDP_PAYLOAD bytes received in a flood, in thousands a second."""
    udp_clean_kpps: float
    """The most that still loses less than CLEAN_LOSS."""
    rtt_us: float
    """The median round trip of an idle tunnel."""
    cpu_s_per_gbit: float
    """Processor seconds for each gigabit of TCP payload, mean of the two sides."""
    cpu_left: float
    cpu_right: float


def measure(stage: Stage, tunnel: Tunnel, seconds: int, congestion: str, *, search: bool = True) -> Run:
    """Measure a tunnel that was just started; `congestion` is the inner TCP's congestion control.

    Without `search` the highest UDP rate that loses little is not looked for, and given as 0.

    Raises LabError, and LabTimeoutError when nothing comes through.
    """
    wait_for(stage, tunnel)
    rtt = _round_trip(stage, tunnel)
    before = [cpu_seconds(side) for side in (stage.left, stage.right)]
    tcp = iperf(stage, tunnel.right, ["-t", str(seconds), "-C", congestion])
    left, right = (cpu_seconds(side) - used for side, used in zip((stage.left, stage.right), before, strict=True))
    gbit = tcp["end"]["sum_received"]["bytes"] * 8 / 1e9
    flood = datagrams(stage, tunnel, 0, seconds)
    return Run(
        tcp_mbps=tcp["end"]["sum_received"]["bits_per_second"] / 1e6,
        udp_kpps=flood.received / flood.seconds / 1e3,
        udp_clean_kpps=_most_without_loss(stage, tunnel, flood) / 1e3 if search else 0.0,
        rtt_us=rtt,
        cpu_s_per_gbit=(left + right) / 2 / gbit,
        cpu_left=left / gbit,
        cpu_right=right / gbit,
    )


def wait_for(stage: Stage, tunnel: Tunnel) -> None:
    """Return once pings come through, on the way that is to be measured. Raises LabTimeoutError."""
    deadline = time.monotonic() + _PATIENCE
    command = ["ping", "-c1", "-W1", tunnel.right]
    while stage.left.namespace.run(command, check=False).returncode or not tunnel.settled():
        if time.monotonic() > deadline:
            logs = "\n".join(
                (side.folder / "log").read_text() for side in stage.sides if (side.folder / "log").exists()
            )
            raise LabTimeoutError(f"no tunnel within {_PATIENCE:g} s; its programs printed:\n{logs[-2000:]}")
        time.sleep(0.1)
    time.sleep(_SETTLING)


def cpu_seconds(side: Side) -> float:
    """Processor time that the tunnel's processes on one side have used since they began."""
    return sum(_cpu_of(folder) for folder in _processes(side.namespace))


def memory_bytes(side: Side) -> int:
    """Memory of the tunnel's processes on one side, what they share counted once (proportional set size)."""
    return sum(_memory_of(folder) for folder in _processes(side.namespace))


def parse_ping(printed: str) -> list[float]:
    """The round trips of a ping, in microseconds."""
    return [float(found) * 1000 for found in _REPLY.findall(printed)]


@dataclass(frozen=True)
class Datagrams:
    """One UDP test, as the receiver counted it."""

    received: int
    lost: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.received / self.seconds

    @property
    def loss(self) -> float:
        return self.lost / max(1, self.received + self.lost)


def parse_datagrams(report: dict[str, Any]) -> Datagrams:
    """Read iperf3's report of a UDP test: the sender numbers datagrams, the receiver counts the gaps."""
    total = report["end"]["sum"]
    return Datagrams(total["packets"] - total["lost_packets"], total["lost_packets"], total["seconds"])


def _round_trip(stage: Stage, tunnel: Tunnel) -> float:
    command = ["ping", "-c", str(_PINGS), "-i", "0.01", tunnel.right]
    return statistics.median(parse_ping(stage.left.namespace.run(command, check=False).stdout))


def _most_without_loss(stage: Stage, tunnel: Tunnel, flood: Datagrams) -> float:
    """Bisect for the highest rate that loses less than CLEAN_LOSS; datagrams received a second."""
    if flood.loss < CLEAN_LOSS:
        return flood.rate
    best, low, high = 0.0, 0.0, flood.rate * 1.25
    for _ in range(_SEARCH_STEPS):
        tried = (low + high) / 2
        got = datagrams(stage, tunnel, tried, _SEARCH_SECONDS)
        if got.loss < CLEAN_LOSS:
            low = tried
            best = max(best, got.rate)
        else:
            high = tried
    return best


def datagrams(stage: Stage, tunnel: Tunnel, datagrams_a_second: float, seconds: int) -> Datagrams:
    """Send so many; 0 is as many as can be. Raises LabError."""
    rate = str(int(datagrams_a_second * UDP_PAYLOAD * 8))
    options = ["-u", "-l", str(UDP_PAYLOAD), "-b", rate, "-t", str(seconds), "-w", _SOCKET_BUFFER]
    return parse_datagrams(iperf(stage, tunnel.right, options))


def iperf(stage: Stage, address: str, options: list[str]) -> dict[str, Any]:
    """Run iperf3 from the left side to the right side's `address`; its report. Raises LabError."""
    with _server(stage.right, address):
        command = ["iperf3", "--json", "--connect-timeout", "5000", "-c", address, *options]
        done = stage.left.namespace.run(command, check=False, timeout=60.0)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise LabError(f"iperf3 printed no report: {done.stdout[-500:]}{done.stderr[-500:]}") from error
    if "error" in report:
        raise LabError(f"iperf3: {report['error']}")
    return report


@contextmanager
def _server(side: Side, address: str) -> Iterator[None]:
    server = side.namespace.popen(
        ["iperf3", "--server", "--one-off", "--forceflush", "--bind", address], stdout=PIPE, stderr=STDOUT
    )
    assert server.stdout is not None
    try:
        while b"listening" not in (line := server.stdout.readline()):
            if not line:
                raise LabError("iperf3's server ended at once")
        yield
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def _processes(namespace: Namespace) -> Iterator[Path]:
    network = namespace.path.stat().st_ino
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            inside = (folder / "ns" / "net").stat().st_ino == network
            if inside and (folder / "comm").read_text().strip() not in _TOOLS:
                yield folder
        except OSError:
            continue  # it ended meanwhile


def _cpu_of(process: Path) -> float:
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / _TICK


def _memory_of(process: Path) -> int:
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
