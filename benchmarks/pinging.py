"""The system's ping in the background: pings from one host, how many went and how many were answered."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from types import TracebackType
from typing import Final

from benchmarks.travel import PAYLOAD
from ipop_core.lab import Host, LabError

INTERVAL: Final = 0.1
LINGER: Final = 2.0
"""Seconds that a ping has to be answered in, at least."""
_SUMMARY: Final = re.compile(r"(\d+) packets transmitted")
_REPLY: Final = re.compile(r"\[(\d+\.\d+)\].*icmp_seq=(\d+) ttl")


class Pinging:
    """Pings `address` from `host` while its `with` block runs; `sent` and `received` are there afterwards."""

    def __init__(self, host: Host, address: str) -> None:
        self._host = host
        self._address = address
        self.began = 0.0
        """As `time.monotonic()` counts."""
        self.sent = self.received = 0
        self.replies: dict[int, float] = {}
        """When the answer to each ping that counts came, as `time.monotonic()` counts, by the ping's number."""
        self.printed = ""

    def __enter__(self) -> Pinging:
        command = ["ping", "-n", "-D", "-i", f"{INTERVAL:g}", "-s", str(PAYLOAD), self._address]
        self.began = time.monotonic()
        self._process = self._host.popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # ping stops without waiting for what is on its way, so the last pings, which had less time, don't count.
        time.sleep(LINGER)
        self._process.send_signal(signal.SIGINT)
        self.printed = self._process.communicate(timeout=5.0)[0].decode()
        found = _SUMMARY.search(self.printed)
        if found is None:
            raise LabError(f"ping printed no summary: {self.printed[-300:]}")
        self.sent = max(0, int(found[1]) - round(LINGER / INTERVAL))
        gap = time.time() - time.monotonic()
        for moment, text in _REPLY.findall(self.printed):
            number = int(text)
            if number <= self.sent:
                self.replies.setdefault(number, float(moment) - gap)
        self.received = len(self.replies)
