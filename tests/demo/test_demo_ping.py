from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_core.demo.errors import NodeError
from ipop_core.demo.loopback import ThisMachine
from ipop_core.demo.node import Node
from ipop_core.demo.ping import Reply, parse_reply, replies

LINE = "[1795488533.500000] 64 bytes from 192.168.10.20: icmp_seq=7 ttl=64 time=12.5 ms"


def test_a_reply() -> None:
    found = parse_reply(LINE, clock_gap=1795488000.0)

    assert found == Reply(7, 533.5, 12.5)
    assert found.sent == pytest.approx(533.4875)


@pytest.mark.parametrize(
    "line",
    [
        "PING 192.168.10.20 (192.168.10.20) 56(84) bytes of data.",
        "From 192.168.10.10 icmp_seq=1 Destination Host Unreachable",
        LINE + " (DUP!)",
        "20 packets transmitted, 19 received, 5% packet loss, time 3811ms",
        "",
    ],
)
def test_no_reply(line: str) -> None:
    assert parse_reply(line, 0.0) is None


@given(st.text() | st.integers(0, len(LINE)).flatmap(lambda at: st.text().map(lambda text: LINE[:at] + text)))
def test_any_line_is_borne(line: str) -> None:
    parse_reply(line, 0.0)


def run(tmp_path: Path, printed: str) -> list[Reply]:
    async def collect() -> list[Reply]:
        node = Node("alice", "alice-1", ThisMachine(), tmp_path)
        return [reply async for reply in replies(node, [sys.executable, "-c", f"print({printed!r})"])]

    return asyncio.run(collect())


def test_replies_are_read_from_the_program(tmp_path: Path) -> None:
    lines = [LINE, LINE.replace("=7 ", "=8 "), "2 packets transmitted, 2 received, 0% packet loss, time 200ms"]

    assert [reply.sequence for reply in run(tmp_path, os.linesep.join(lines))] == [7, 8]


def test_a_program_that_is_not_ping(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="no summary") as caught:
        run(tmp_path, "ping: socktype: SOCK_RAW: Operation not permitted")

    assert "not permitted" in caught.value.log
