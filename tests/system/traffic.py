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
    """`rate` numbered datagrams a second for `seconds`, each way, from construction on."""

    def __init__(self, one: Node, other: Node, *, rate: int = 1000, seconds: float = 10.0, port: int = 7000) -> None:
        self._seconds = seconds
        self._ends = []
        for near, far in ((one, other), (other, one)):
            arguments = [near.address, far.address, str(port), str(rate), str(int(rate * seconds))]
            self._ends.append(
                near.host.popen(
                    [sys.executable, str(SCRIPT), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
        for end in self._ends:
            assert end.stdout and end.stdout.readline() == b"ready\n"
        for end in self._ends:
            assert end.stdin
            end.stdin.write(b"\n")
            end.stdin.flush()

    def finish(self) -> tuple[Arrived, Arrived]:
        """Wait for the end: what went from the one to the other, and back."""
        outputs = [json.loads(end.communicate(timeout=self._seconds + 20)[0]) for end in self._ends]
        return _arrived(outputs[0], outputs[1]), _arrived(outputs[1], outputs[0])


def _arrived(sender: dict[str, object], receiver: dict[str, object]) -> Arrived:
    received: list[tuple[int, float]] = receiver["received"]  # type: ignore[assignment]  # it is JSON of our own script
    return Arrived(
        sent=int(str(sender["sent"])),
        numbers=[number for number, _ in received],
        moments=[moment for _, moment in received],
        send_errors=int(str(sender["send_errors"])),
    )
