"""Traffic between two nodes that is counted packet by packet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.system.node import Node

SCRIPT = Path(__file__).parent / "numbered.py"


class Arrived(NamedTuple):
    """One direction of a flow."""

    sent: int
    numbers: list[int]
    moments: list[float]
    """As `time.monotonic()` counts, one for each of `numbers`."""
    send_errors: int

    @property
    def missing(self) -> list[int]:
        return sorted(set(range(self.sent)) - set(self.numbers))

    @property
    def longest_gap(self) -> float:
        """Seconds without a packet, at worst."""
        return max((b - a for a, b in zip(self.moments, self.moments[1:], strict=False)), default=0.0)

    def first_after(self, moment: float) -> float | None:
        """When the first packet after `moment` came, in seconds from it."""
        return next((at - moment for at in self.moments if at > moment), None)


class Flow:
    """`rate` numbered datagrams a second each way, from construction on, until `stop` or for `seconds`."""

    def __init__(self, one: Node, other: Node, *, rate: int = 1000, seconds: float = 60.0, port: int = 7000) -> None:
        self._ends = []
        for near, far in ((one, other), (other, one)):
            arguments = [near.address, far.address, str(port), str(rate), str(int(rate * seconds))]
            self._ends.append(
                near.host.popen(
                    [sys.executable, str(SCRIPT), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
        for end in self._ends:
            assert self._said(end) == b"ready\n"
        for end in self._ends:
            self._say(end, "begin")

    def stop(self) -> tuple[Arrived, Arrived]:
        """End it, and wait for what is on its way: what went from the one to the other, and back."""
        for end in self._ends:
            assert end.poll() is None, "the traffic was over already"
            self._say(end, "stop")
        sent = [int(self._said(end)) for end in self._ends]
        for end, count in zip(self._ends, reversed(sent), strict=True):
            self._say(end, str(count))
        outputs = [json.loads(end.communicate(timeout=20)[0]) for end in self._ends]
        return _arrived(outputs[0], outputs[1]), _arrived(outputs[1], outputs[0])

    @staticmethod
    def _say(end: subprocess.Popen[bytes], line: str) -> None:
        assert end.stdin
        end.stdin.write(f"{line}\n".encode())
        end.stdin.flush()

    @staticmethod
    def _said(end: subprocess.Popen[bytes]) -> bytes:
        assert end.stdout
        return end.stdout.readline()


def _arrived(sender: dict[str, object], receiver: dict[str, object]) -> Arrived:
    received: list[tuple[int, float]] = receiver["received"]  # type: ignore[assignment]  # it is JSON of our own script
    return Arrived(
        sent=int(str(sender["sent"])),
        numbers=[number for number, _ in received],
        moments=[moment for _, moment in received],
        send_errors=int(str(sender["send_errors"])),
    )
