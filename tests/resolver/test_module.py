"""The module over real sockets: on loopback with a stand-in for the directory, and between real nodes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import pytest

from ipop_core.bus.api import Call, JsonObject
from ipop_core.errors import IpopError
from ipop_core.lab import Laboratory, capabilities
from ipop_core.testing import FakeRole, memory_bus, module_context
from ipop_modules.resolver.module import Resolver
from ipop_modules.resolver.plugin import ipop_module
from ipop_modules.resolver.settings import Settings
from tests.core_supervision.node import story
from tests.system.conftest import require
from tests.system.node import Node

BOB = "b0" * 20


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.asynccontextmanager
async def resolver(tmp_path: Path, found: Any, address: str = "127.0.0.1/8") -> AsyncIterator[tuple[Any, int]]:
    """One whose directory answers `found`, and its port."""
    settings = Settings(port=free_port())
    card = {"name": "tapipop", "mac": "02:00:00:00:00:01", "addresses": [address], "mtu": 1500, "up": True}
    status = {"node": "00" * 20, "card": card, "listening": [], "observed": [], "sessions": 0, "counters": {}}
    async with memory_bus(ipop_module().messages) as bus:
        link, topology = FakeRole(bus, "link", {"status": status}), FakeRole(bus, "topology", {"resolve_name": found})
        await link.start()
        await topology.start()
        module = Resolver(module_context(settings, bus=await bus.connect("resolver"), folder=tmp_path))
        await module.start()
        try:
            yield await bus.connect(), settings.port
        finally:
            await module.stop()


async def ask(name: str, port: int, kind: str = "A", source: str = "127.0.0.1") -> dns.message.Message:
    """Raises TimeoutError where no answer comes."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((source, 0))
        sock.connect(("127.0.0.1", port))
        await loop.sock_sendall(sock, dns.message.make_query(name, kind).to_wire())
        async with asyncio.timeout(5 if source == "127.0.0.1" else 0.3):
            return dns.message.from_wire(await loop.sock_recv(sock, 4096))


def answer(node: str | None, *addresses: str, certain: bool = True) -> JsonObject:
    return {"name": "bob", "node": node, "addresses": list(addresses), "certain": certain, "source": "directory"}


@story
async def test_a_member_is_found_and_leads_nobody_out_of_the_network(tmp_path: Path) -> None:
    async with resolver(tmp_path, answer(BOB, "127.0.0.20", "8.8.8.8")) as (_, port):
        found = await ask("bob.ipop", port)
        assert [str(item) for rrset in found.answer for item in rrset] == ["127.0.0.20"]
        assert (await ask("example.org", port)).rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (answer(None), dns.rcode.NXDOMAIN),
        (answer(None, certain=False), dns.rcode.SERVFAIL),
        (IpopError("name: 'x_y' is no host name"), dns.rcode.NXDOMAIN),
        (ValueError("broken"), dns.rcode.SERVFAIL),
    ],
)
@story
async def test_a_name_that_is_not_found(tmp_path: Path, found: Any, code: dns.rcode.Rcode) -> None:
    async with resolver(tmp_path, found) as (_, port):
        assert (await ask("bob.ipop", port)).rcode() == code


@story
async def test_whoever_does_not_ask_from_the_card_s_own_address_is_not_heard(tmp_path: Path) -> None:
    async with resolver(tmp_path, answer(BOB, "127.0.0.20")) as (client, port):
        with pytest.raises(TimeoutError):
            await ask("bob.ipop", port, source="127.0.0.2")
        assert (await client.request("resolver", "status")).body["counters"] == {"drop_foreign": 1}


@story
async def test_a_flood_of_questions_is_told_to_come_again(tmp_path: Path) -> None:
    waiting = asyncio.Event()

    async def slow(_: Call) -> JsonObject:
        await waiting.wait()
        return answer(BOB, "127.0.0.20")

    async with resolver(tmp_path, slow) as (client, port):
        asked = [asyncio.create_task(ask("bob.ipop", port)) for _ in range(80)]
        async with asyncio.timeout(5):
            while (await client.request("resolver", "status")).body["counters"].get("busy", 0) < 16:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        waiting.set()
        codes = [(await task).rcode() for task in asked]
        assert (codes.count(dns.rcode.SERVFAIL), codes.count(dns.rcode.NOERROR)) == (16, 64)


@story
async def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        async with memory_bus(ipop_module().messages) as bus:
            module = Resolver(module_context(Settings(port=port), bus=await bus.connect("resolver"), folder=tmp_path))
            with pytest.raises(IpopError, match=f"modules.resolver.port: can't listen on 127.0.0.1 port {port}"):
                await module._open(["127.0.0.1/8"])


ASK = """
import socket, sys, dns.message
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(float(sys.argv[3]))
sock.connect((sys.argv[1], 53))
sock.send(dns.message.make_query(sys.argv[2], "A").to_wire())
answer = dns.message.from_wire(sock.recv(4096))
print([str(item) for rrset in answer.answer for item in rrset])
"""


@pytest.fixture
def lab() -> Iterator[Laboratory]:
    rights = capabilities()
    require(rights.laboratory)
    require(rights.tun)
    with Laboratory() as laboratory:
        yield laboratory


@pytest.mark.net
@pytest.mark.slow
def test_members_reach_each_other_by_name(lab: Laboratory) -> None:
    public = lab.segment()
    alice_host, bob_host = lab.host("alice", public), lab.host("bob", public)

    def member(name: str, host: Any, last: int) -> Node:
        sections: dict[str, Any] = {
            "tincan": {"address": f"192.168.10.{last}/24"},
            "topology": {"name": name},
            "signal": {"bootstraps": [f"{alice_host.address}:4741"]},
            "resolver": {},
            "logger": {},
        }
        return Node(name, host, lab.folder, sections, namespace="town").start()

    alice, bob = member("alice", alice_host, 10), member("bob", bob_host, 20)
    for node in (alice, bob):
        node.ready(timeout=30)
    bob.until("topology", "status", lambda body: body["name"]["state"] == "registered", "topology.*", timeout=20)
    ask_with = [sys.executable, "-c", ASK, alice.address]
    assert alice.host.run([*ask_with, "bob.ipop", "10"]).stdout.strip() == "['192.168.10.20']"
    assert bob.ping(alice.address, count=1).received == 1
    assert "TimeoutError" in bob.host.run([*ask_with, "bob.ipop", "0.5"], check=False).stderr
    assert alice.ask("resolver", "status")["counters"]["drop_foreign"] == 1
