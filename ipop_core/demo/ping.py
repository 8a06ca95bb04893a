"""The system's ping (iputils), read line by line."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from ipop_core.demo.errors import NodeError
from ipop_core.demo.node import Node

_REPLY: Final = re.compile(r"\[([0-9]+\.[0-9]+)\] [0-9]+ bytes from .*: icmp_seq=([0-9]+) .*time=([0-9.]+) ms(.*)")
_SUMMARY: Final = re.compile(r"([0-9]+) packets transmitted, ([0-9]+) received")


@dataclass(frozen=True)
class Reply:
    """One echo reply. Moments are seconds as `time.monotonic()` counts."""

    sequence: int
    received: float
    rtt_ms: float

    @property
    def sent(self) -> float:
        return self.received - self.rtt_ms / 1000


def parse_reply(line: str, clock_gap: float) -> Reply | None:
    """The reply that a line of `ping -D` tells of, None for every other line and for a duplicate.

    `clock_gap` is what `time.time()` is ahead of `time.monotonic()`.
    """
    found = _REPLY.fullmatch(line.rstrip())
    if found is None or "DUP" in found[4]:
        return None
    return Reply(int(found[2]), float(found[1]) - clock_gap, float(found[3]))


def command(address: str, count: int, interval: float, pattern: str) -> list[str]:
    """`pattern` is up to 16 bytes in hexadecimal, which fill the payload."""
    return ["ping", "-n", "-D", "-c", str(count), "-i", f"{interval:g}", "-W", "4", "-p", pattern, address]


async def replies(node: Node, words: list[str]) -> AsyncGenerator[Reply, None]:
    """Run this ping on the node's computer. Raises NodeError when it isn't the ping that was expected."""
    clock_gap = time.time() - time.monotonic()
    process = node.computer.popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    printed: list[str] = []
    try:
        async for line in _lines(process):
            printed.append(line)
            reply = parse_reply(line, clock_gap)
            if reply is not None:
                yield reply
        if not any(_SUMMARY.search(line) for line in printed):
            raise NodeError(f"{node.name}: ping printed no summary", "\n".join(printed))
    finally:
        process.kill()
        process.wait()


async def _lines(process: subprocess.Popen[bytes]) -> AsyncGenerator[str, None]:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), process.stdout
    )
    try:
        while line := await reader.readline():
            yield line.decode(errors="replace").rstrip("\n")
    finally:
        transport.close()
