"""Roles of a node as they answer, for a monitor on a bus in memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ipop_core.testing import FakeRole, MemoryBus, memory_bus, module_context
from ipop_modules.logger.plugin import ipop_module as logger
from ipop_modules.monitor.module import Monitor
from ipop_modules.monitor.plugin import ipop_module
from ipop_modules.monitor.settings import Settings
from ipop_modules.resolver.plugin import ipop_module as resolver

ME = "1" * 40
PEER = "ab" * 20
RELAYED = "cd" * 20


def core_status() -> dict[str, Any]:
    def module(name: str, role: str, pid: int | None, restarts: int = 0) -> dict[str, Any]:
        return {
            "name": name,
            "role": role,
            "pid": pid,
            "state": "running",
            "restarts": restarts,
            "since": 1.0,
            "isolation": "process",
        }

    return {
        "node": ME,
        "name": "test",
        "pid": os.getpid(),
        "version": "1.2.3",
        "started": 1000.0,
        "ready": True,
        "namespace": "town",
        "modules": [module("tincan", "link", os.getpid(), 2), module("topology", "topology", 1 << 22)],
        "bus": {"garbage": 0, "queue_full": 3},
        "clock_moved_s": 0.0,
    }


def peer(node: str, path: str, rtt: float | None, **more: Any) -> dict[str, Any]:
    return {
        "node": node,
        "addresses": ["192.168.10.20"],
        "path": path,
        "endpoint": "192.0.2.1:4741" if path == "direct" else None,
        "rtt_ms": rtt,
        "overlay_hops": None,
        "kinds": ["near"],
        "member": True,
        "bytes_in": 10,
        "bytes_out": 20,
        "age_s": 1.5,
        **more,
    }


def answers() -> dict[str, dict[str, Any]]:
    """By role, the answers by action."""
    sessions = {"bytes_in": 1000, "bytes_out": 2000, "blocks_in": 10, "blocks_out": 20, "datagrams_out": 25}
    link = {
        "node": ME,
        "card": {"name": "tapipop", "mac": "02:00:00:00:00:01", "addresses": ["192.168.10.10/24"]},
        "listening": [],
        "observed": [],
        "sessions": 2,
        "counters": {
            "drop_no_route": 4,
            "socket_full": 1,
            "socket_closed": 9,
            "refused_member": 2,
            "handshakes": 6,
            "handshake_no_answer": 5,
            "relayed": 7,
            "relayed_bytes": 700,
            "searches": 3,
        },
        "traffic": {
            "card": {"bytes_in": 1, "bytes_out": 2, "packets_in": 3, "packets_out": 4},
            "sessions": sessions,
        },
    }
    topology = {
        "joined": True,
        "size_estimate": 9,
        "neighbours": [{"node": PEER, "kind": "near"}],
        "registered": [{"address": "192.168.10.10", "state": "registered", "owner": ME}],
        "members": 3,
        "counters": {
            "dropped": 0,
            "records": 5,
            "shortcuts": 1,
            "drop_hello_limit": 6,
            "drop_put_limit": 4,
            "drop_repair_limit": 8,
            "drop_survey_limit": 0,
        },
        "lookups": {
            "answers": {"cache": 2, "found": 3},
            "latency_s": {"bounds": [0.1, 1.0], "counts": [2, 1, 0], "sum": 0.5},
        },
    }
    association = {"peer": "192.168.10.20", "state": "protected", "bytes_in": 1, "bytes_out": 2}
    crypto = {
        "kind": "ipsec",
        "on": True,
        "ready": True,
        "card": "tapipop",
        "fault": None,
        "restarts": 3,
        "revocations": 7,
        "counters": {"in_no_pols": 5},
        "associations": [association, association | {"state": "deleting"}],
    }
    return {
        "core": {"status": core_status()},
        "link": {
            "status": link,
            "peers": {"peers": [peer(PEER, "direct", 1.25), peer(RELAYED, "overlay", 8.0, kinds=["shortcut"])]},
        },
        "topology": {
            "status": topology,
            "survey": {"node": ME, "near": [PEER], "long": [], "shortcut": [], "other": []},
        },
        "logger": {
            "recent": {"lines": []},
            "status": {
                "to": "stderr",
                "format": "text",
                "levels": {"root": "info"},
                "counters": {"written": 9, "repeated": 2, "lost": 0},
                "lines": {"debug": 0, "info": 10, "warning": 1, "error": 3, "repeated": 2, "lost": 1},
            },
        },
        "resolver": {
            "status": {
                "domain": "ipop",
                "listening": ["192.168.10.10 port 53"],
                "systemd_resolved": "told",
                "counters": {"drop_foreign": 2, "answered": 5, "busy": 1},
                "queries": {"udp": 6, "tcp": 1},
                "answers": {"noerror": 5, "nxdomain": 0, "servfail": 1, "refused": 0},
            }
        },
        "crypto": {"status": crypto},
        "signal": {"status": {"bootstraps": [{"name": "b", "state": "connected"}], "counters": {"offers_sent": 1}}},
    }


@contextlib.asynccontextmanager
async def roles(*missing: str) -> AsyncIterator[tuple[MemoryBus, dict[str, FakeRole]]]:
    """A bus on which all roles answer but the missing ones."""
    async with memory_bus([*ipop_module().messages, *logger().messages, *resolver().messages]) as bus:
        there = {name: FakeRole(bus, name, told) for name, told in answers().items() if name not in missing}
        for role in there.values():
            await role.start()
        yield bus, there


@contextlib.asynccontextmanager
async def serving(folder: Path, listen: str = "127.0.0.1:0") -> AsyncIterator[tuple[Monitor, MemoryBus]]:
    """A monitor that listens on a port of its own."""
    async with roles() as (bus, _):
        client = await bus.connect("monitor")
        monitor = Monitor(module_context(Settings(listen), bus=client, folder=folder))
        await monitor.start()
        client.started()
        try:
            yield monitor, bus
        finally:
            await monitor.stop()
