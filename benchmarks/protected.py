"""Two members with IPsec between their virtual addresses, on a stage of this kernel, and what protecting costs.

Throughput is measured with IPsec on and off in turn, through the same tunnel. The faults are real ones: charon gets
SIGKILL during a flood of pings, keys are changed during a stream of numbered datagrams. A capture of the virtual card
looks for the pings' payload meanwhile.

Run as `python -m benchmarks.protected ROUNDS SECONDS FILE`; it writes its figures as JSON into
FILE, and takes the kernel for its own.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

import vici

from benchmarks.measure import Run, datagrams, measure
from benchmarks.peers.peer import INNER, Tunnel, launch, write
from benchmarks.stage import Conditions, Side, Stage, stage
from ipop_core.lab import Capture, LabError, LabTimeoutError
from ipop_core.lab.commands import run

CARD: Final = "tapipop"
NETWORK: Final = "10.98.0.0/24"
BEEF: Final = bytes.fromhex("deadbeef" * 4)
CONGESTION: Final = "cubic"
"""User-Mode Linux has no BBR."""
PATIENCE: Final = 90.0
_PORT: Final = 4741
_FLOOD_INTERVAL: Final = 0.005
_BEFORE: Final = 2.0
_AFTER: Final = 5.0
"""Seconds of the flood before charon is killed, and once there are new keys."""
_STREAM: Final = 200
"""Datagrams a second."""
_BUFFER: Final = 4 << 20
"""Bytes that a socket may have, as `benchmarks.measure` wants."""
_LAST: Final = 20_000
"""Characters of a log that are shown when something fails."""
_ESP: Final = 50
_IPV4: Final = 4
_PROGRAMS: Final = Path(sys.executable).parent
_ANSWER: Final = re.compile(r"\[(\d+\.\d+)\] \d+ bytes from .* icmp_seq=(\d+) ")


@dataclass(frozen=True)
class Killed:
    """charon was killed on one side during a flood of pings."""

    sent: int
    lost: int
    flowing_after_s: float
    """The longest time between two answers, from the kill on: nothing came through for so long."""
    keys_after_s: float
    """From the kill until there were new keys."""
    plaintext: int
    """Packets on the virtual card in which the pings could be read."""
    esp: int
    uncaptured: int
    """Packets that the capture missed; only with 0 is no plaintext a finding."""


@dataclass(frozen=True)
class Rekeyed:
    """Keys were changed during a stream of datagrams; they are numbered, and the receiver counts the gaps."""

    changes: int
    sent: int
    lost: int


@dataclass(frozen=True)
class Figures:
    on: list[Run]
    off: list[Run]
    killed: Killed
    rekeyed: Rekeyed


def measure_all(rounds: int, seconds: int) -> Figures:
    """On and off in turn, then the faults. Raises LabError."""
    with stage(Conditions()) as scene:
        _start(scene)
        try:
            return _measure(scene, rounds, seconds)
        except LabError:
            for side in scene.sides:
                print(side.namespace.run(["ip", "xfrm", "state"], check=False).stdout, flush=True)
                print(f"{side.name}:\n{(side.folder / 'log').read_text()[-_LAST:]}", flush=True)
            raise


def _measure(scene: Stage, rounds: int, seconds: int) -> Figures:
    tunnel = Tunnel(INNER["left"], INNER["right"], CARD, "", settled=lambda: _direct(scene.left))
    runs: dict[bool, list[Run]] = {True: [], False: []}
    for _ in range(rounds):
        for on, found in runs.items():
            _switch(scene, on)
            found.append(measure(scene, tunnel, seconds, CONGESTION, search=False))
            print(f"IPsec on: {on}, {found[-1]}", flush=True)
    _switch(scene, True)
    killed = _kill_charon(scene)
    print(killed, flush=True)
    rekeyed = _change_keys(scene, tunnel, seconds)
    print(rekeyed, flush=True)
    return Figures(runs[True], runs[False], killed, rekeyed)


def _start(scene: Stage) -> None:
    authority = scene.left.folder / "authority"
    ca = [str(_PROGRAMS / "ipop"), "ca"]
    run([*ca, "init", "benchmark", "--network", NETWORK, "--dir", str(authority)])
    for side in scene.sides:
        configuration = {
            "node": {"name": side.name, "state": str(side.folder / "state"), "run": str(side.folder / "run")},
            "namespace": {"name": "benchmark", "authority": str(authority / "ca.pem")},
            "modules": {
                "tincan": {"address": f"{INNER[side.name]}/24"},
                "topology": {},
                "signal": {"bootstraps": [] if side is scene.left else [f"{scene.left.address}:{_PORT}"]},
                "logger": {"levels": {"ipsec": "debug"}},
                "ipsec": {},
            },
        }
        path = write(side.folder, "controller.json", json.dumps(configuration, indent=2))
        bundle = str(side.folder / "bundle.pem")
        run([*ca, "issue", side.name, "--address", INNER[side.name], "--dir", str(authority), "-o", bundle])
        _ipop(side, "ca", "install", bundle)
        launch(side, str(_PROGRAMS / "ipop-controller"), "-c", str(path))
    _until(lambda: _ready(scene, True), "IPsec")


def _switch(scene: Stage, on: bool) -> None:
    for side in scene.sides:
        _ipop(side, "ipsec", "on" if on else "off")
    _until(lambda: _ready(scene, on), "keys")


def _ready(scene: Stage, on: bool) -> bool:
    found = [_status(side) for side in scene.sides]
    return all(status.get("on") == on and (status["ready"] or not on) for status in found)


def _status(side: Side) -> dict[str, Any]:
    """Empty while nobody answers."""
    done = side.namespace.run(_words(side, "ipsec", "status", "--json"), check=False, timeout=PATIENCE)
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def _direct(side: Side) -> bool:
    found = json.loads(_ipop(side, "peers", "--json"))
    return any(peer["path"] == "direct" and INNER["right"] in peer["addresses"] for peer in found)


def _ipop(side: Side, *words: str) -> str:
    return side.namespace.run(_words(side, *words), timeout=PATIENCE).stdout


def _words(side: Side, *words: str) -> list[str]:
    return [str(_PROGRAMS / "ipop"), "-c", str(side.folder / "controller.json"), *words]


def _kill_charon(scene: Stage) -> Killed:
    left = scene.left
    left.namespace.run(["ping", "-c1", "-W5", INNER["right"]])
    pid = int((left.folder / "run" / "charon" / "charon.pid").read_text())
    command = ["ping", "-n", "-D", "-i", str(_FLOOD_INTERVAL), "-p", "deadbeef", INNER["right"]]
    # Into a file: a pipe that nobody reads is full after 800 answers, and then nothing wants keys any more.
    with Capture(left.namespace, CARD) as capture, TemporaryFile("w+") as output:
        pinging = left.namespace.popen(command, stdout=output, stderr=subprocess.STDOUT)
        time.sleep(_BEFORE)
        old, begun, moment = _spis(left), time.monotonic(), time.time()
        run(["kill", "-KILL", str(pid)])
        _until(lambda: bool(_spis(left) - old), "new keys")
        keys_after = time.monotonic() - begun
        time.sleep(_AFTER)
        pinging.send_signal(signal.SIGINT)
        pinging.wait(PATIENCE)
        output.seek(0)
        printed = output.read()
    answers = [(int(number), float(at)) for at, number in _ANSWER.findall(printed)]
    # What is on its way when ping is stopped, it does not wait for.
    sent = max((number for number, _ in answers), default=0)
    return Killed(
        sent=sent,
        lost=sent - len({number for number, _ in answers}),
        flowing_after_s=longest_silence([at for _, at in answers], moment),
        keys_after_s=keys_after,
        plaintext=len(capture.find(BEEF)),
        esp=sum(packet.raw[0] >> 4 == _IPV4 and packet.raw[9] == _ESP for packet in capture.packets()),
        uncaptured=capture.dropped,
    )


def longest_silence(moments: Sequence[float], since: float) -> float:
    """Seconds; the longest time without an answer from `since` on, among answers that came at these moments."""
    last = max((moment for moment in moments if moment <= since), default=since)
    later = [last, *(moment for moment in moments if moment > since)]
    return max((after - before for before, after in pairwise(later)), default=float("inf"))


def _change_keys(scene: Stage, tunnel: Tunnel, seconds: int) -> Rekeyed:
    """Change the keys again and again while datagrams flow."""
    left = scene.left
    changes = 0
    session = vici.Session(_vici_socket(left))
    with ThreadPoolExecutor() as threads:
        stream = threads.submit(datagrams, scene, tunnel, _STREAM, 2 * seconds)
        while not stream.done():
            old = _spis(left)
            session.rekey({"child": "esp"})
            _until(partial(_are_gone, left, old), "change of keys")
            changes += 1
    found = stream.result()
    return Rekeyed(changes=changes, sent=found.received + found.lost, lost=found.lost)


def _vici_socket(side: Side) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.connect(str(side.folder / "run" / "charon" / "charon.vici"))
    return made


def _spis(side: Side) -> set[str]:
    """Of the associations that have keys."""
    shown = side.namespace.run(["ip", "xfrm", "state"]).stdout
    return set(re.findall(r"^\tproto esp spi (\S+).*(?:\n\t.*)*?\n\taead ", shown, re.MULTILINE))


def _are_gone(side: Side, old: set[str]) -> bool:
    return not _spis(side) & old


def _until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > deadline:
            raise LabTimeoutError(f"no {what} within {PATIENCE:g} s")
        time.sleep(0.02)


def main(argv: Sequence[str]) -> None:
    for limit in ("rmem_max", "wmem_max"):
        Path("/proc/sys/net/core", limit).write_text(str(_BUFFER))
    figures = measure_all(int(argv[0]), int(argv[1]))
    Path(argv[2]).write_text(json.dumps(asdict(figures)))


if __name__ == "__main__":
    main(sys.argv[1:])
