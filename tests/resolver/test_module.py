"""The module over real sockets: on loopback with a stand-in for the directory, and between real nodes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest

from ipop_core.bus.api import Call, JsonObject
from ipop_core.errors import IpopError
from ipop_core.lab import Laboratory, capabilities
from ipop_core.testing import FakeRole, memory_bus, module_context
from ipop_modules.resolver import door
from ipop_modules.resolver.module import MOST_AT_ONCE, Resolver
from ipop_modules.resolver.plugin import ipop_module
from ipop_modules.resolver.settings import Settings
from tests.core_supervision.node import story
from tests.system.conftest import require
from tests.system.node import Node

BOB = "b0" * 20


def free_port() -> int:
    """Free for datagrams and for streams."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                other.bind(one.getsockname())
                return int(one.getsockname()[1])


CARD = {"name": "tapipop", "mac": "02:00:00:00:00:01", "addresses": ["127.0.0.1/8"], "mtu": 1500, "up": True}


@contextlib.asynccontextmanager
async def resolver(tmp_path: Path, found: Any, **directory: Any) -> AsyncIterator[tuple[Any, int]]:
    """One whose directory answers `found`, and its port."""
    async with resolver_and_card(tmp_path, found, **directory) as (client, port, _):
        yield client, port


@contextlib.asynccontextmanager
async def resolver_and_card(tmp_path: Path, found: Any, **directory: Any) -> AsyncIterator[tuple[Any, int, FakeRole]]:
    """The same with the role link, which has the card."""
    settings = Settings(port=free_port())
    status = {"node": "00" * 20, "card": CARD, "listening": [], "observed": [], "sessions": 0, "counters": {}}
    async with memory_bus(ipop_module().messages) as bus:
        link, topology = (
            FakeRole(bus, "link", {"status": status}),
            FakeRole(bus, "topology", {"resolve_name": found, **directory}),
        )
        await link.start()
        await topology.start()
        module = Resolver(module_context(settings, bus=await bus.connect("resolver"), folder=tmp_path))
        await module.start()
        try:
            yield await bus.connect(), settings.port, link
        finally:
            await module.stop()


async def ask(
    name: str, port: int, kind: str = "A", source: str = "127.0.0.1", server: str = "127.0.0.1"
) -> dns.message.Message:
    """Raises TimeoutError where no answer comes."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((source, 0))
        sock.connect((server, port))
        await loop.sock_sendall(sock, dns.message.make_query(name, kind).to_wire())
        async with asyncio.timeout(5 if source == server else 0.3):
            return dns.message.from_wire(await loop.sock_recv(sock, 4096))


def answer(node: str | None, *addresses: str, certain: bool = True) -> JsonObject:
    return {"name": "bob", "node": node, "addresses": list(addresses), "certain": certain, "source": "directory"}


@story
async def test_a_member_is_found_and_leads_nobody_out_of_the_network(tmp_path: Path) -> None:
    async with resolver(tmp_path, answer(BOB, "127.0.0.20", "8.8.8.8")) as (_, port):
        found = await ask("bob.ipop", port)
        assert [str(item) for rrset in found.answer for item in rrset] == ["127.0.0.20"]
        assert (await ask("example.org", port)).rcode() == dns.rcode.REFUSED


@story
async def test_questions_are_counted_by_transport_and_answers_by_code(tmp_path: Path) -> None:
    async with resolver(tmp_path, answer(BOB, "127.0.0.20")) as (client, port):
        for name in ("bob.ipop", "bob.ipop", "example.org"):
            await ask(name, port)
        await dns.asyncquery.tcp(dns.message.make_query("bob.ipop", "A"), "127.0.0.1", port=port, source="127.0.0.1")
        newer = dns.message.make_query("bob.ipop", "A", use_edns=1)
        await dns.asyncquery.udp(newer, "127.0.0.1", port=port, source="127.0.0.1", timeout=5)
        status = (await client.request("resolver", "status")).body
        assert status["queries"] == {"udp": 4, "tcp": 1}
        assert status["answers"] == {"noerror": 3, "nxdomain": 0, "servfail": 0, "refused": 1, "badvers": 1}


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
async def test_more_questions_than_fit_at_once_are_answered_one_after_another(tmp_path: Path) -> None:
    async with resolver(tmp_path, answer(BOB, "127.0.0.20")) as (client, port):
        for _ in range(MOST_AT_ONCE + 5):
            assert (await ask("bob.ipop", port)).rcode() == dns.rcode.NOERROR
        assert "busy" not in (await client.request("resolver", "status")).body["counters"]


@story
async def test_another_address_of_the_card_is_answered_at_instead(tmp_path: Path) -> None:
    async with resolver_and_card(tmp_path, answer(BOB, "127.0.0.20", "10.0.0.20")) as (_, port, card):
        assert (await ask("bob.ipop", port)).answer
        assert (await ask("20.0.0.10.in-addr.arpa", port, "PTR")).rcode() == dns.rcode.REFUSED
        card.publish("link.card", CARD | {"addresses": ["127.0.0.2/8", "10.0.0.1/24"]})
        found = None
        async with asyncio.timeout(5):
            while found is None:
                await asyncio.sleep(0.01)
                with contextlib.suppress(ConnectionRefusedError):  # nobody listens there yet
                    found = await ask("bob.ipop", port, source="127.0.0.2", server="127.0.0.2")
        assert sorted(str(item) for rrset in found.answer for item in rrset) == ["10.0.0.20", "127.0.0.20"]
        reverse = await ask("20.0.0.10.in-addr.arpa", port, "PTR", source="127.0.0.2", server="127.0.0.2")
        assert reverse.rcode() != dns.rcode.REFUSED
        with pytest.raises(ConnectionRefusedError):
            await ask("bob.ipop", port)


@story
async def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        async with memory_bus(ipop_module().messages) as bus:
            module = Resolver(module_context(Settings(port=port), bus=await bus.connect("resolver"), folder=tmp_path))
            with pytest.raises(IpopError, match=f"modules.resolver.port: can't listen on 127.0.0.1 port {port}"):
                await module._open(["127.0.0.1/8"])


BOB_S = {"node": BOB, "name": "bob", "addresses": ["127.0.0.20"]}
OWNER = {"address": "127.0.0.20", "node": BOB, "certain": True, "source": "directory"}


@pytest.mark.parametrize(
    ("said", "owner", "named"),
    [
        (answer(BOB, "127.0.0.20"), BOB, ["bob.ipop."]),
        (answer(BOB, "127.0.0.21"), BOB, []),  # the name's owner doesn't say that the address is his
        (answer(BOB, "127.0.0.20"), "a1" * 20, []),  # he says so, but it isn't
        (answer(None), BOB, []),
    ],
)
@story
async def test_an_address_has_the_name_whose_owner_has_it(
    tmp_path: Path, said: JsonObject, owner: str, named: list[str]
) -> None:
    listed = {"certain": True, "nodes": [BOB], "members": [BOB_S]}
    directory = {"members": listed, "resolve": {**OWNER, "node": owner}}
    async with resolver(tmp_path, said, **directory) as (_, port):
        found = await ask("20.0.0.127.in-addr.arpa", port, "PTR")
        assert [str(item) for rrset in found.answer for item in rrset] == named
        assert found.rcode() == (dns.rcode.NOERROR if named else dns.rcode.NXDOMAIN)
        assert (await ask("21.0.0.127.in-addr.arpa", port, "PTR")).rcode() == dns.rcode.NXDOMAIN
        assert (await ask("20.0.0.128.in-addr.arpa", port, "PTR")).rcode() == dns.rcode.REFUSED


async def connect(port: int, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))


def framed(name: str) -> bytes:
    wire = dns.message.make_query(name, "A").to_wire()
    return len(wire).to_bytes(2) + wire


async def next_answer(reader: asyncio.StreamReader) -> dns.message.Message:
    async with asyncio.timeout(5):
        return dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2))))


@story
async def test_what_is_too_long_for_a_datagram_comes_by_tcp(tmp_path: Path) -> None:
    many = [f"127.0.1.{last}" for last in range(200)]
    async with resolver(tmp_path, answer(BOB, *many)) as (_, port):
        short = await ask("bob.ipop", port)
        assert (bool(short.flags & dns.flags.TC), short.answer) == (True, [])
        reader, writer = await connect(port)
        writer.write(framed("bob.ipop") + framed("example.org"))
        writer.write_eof()  # who asks no more still gets his answers
        answers = [await next_answer(reader) for _ in range(2)]
        assert sorted(len(item.answer and item.answer[0]) for item in answers) == [0, 200]
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("sent", [b"\xff\xff", b"\x00\x00", b"\x00\x03abc", (13).to_bytes(2) + bytes(13)])
@story
async def test_a_stream_that_is_no_dns_is_closed(tmp_path: Path, sent: bytes) -> None:
    async with resolver(tmp_path, answer(BOB, "127.0.0.20")) as (client, port):
        reader, writer = await connect(port)
        writer.write(sent)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
        assert (await ask("bob.ipop", port)).answer
        assert (await client.request("resolver", "status")).body["counters"]["drop_bad"] == 1


@story
async def test_streams_are_few_slow_ones_are_closed_and_strangers_are_not_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "STREAM_LIMIT", 0.5)
    async with resolver(tmp_path, answer(BOB, "127.0.0.20")) as (client, port):
        streams = [await connect(port) for _ in range(door.MOST_STREAMS)]
        streams[0][1].write(b"\0")
        for source in ("127.0.0.1", "127.0.0.2"):
            reader, writer = await connect(port, source)
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
        assert (await ask("bob.ipop", port)).answer
        async with asyncio.timeout(5):
            for reader, writer in streams:
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
                writer.close()
        counters = (await client.request("resolver", "status")).body["counters"]
        assert (counters["drop_streams"], counters["drop_foreign"]) == (1, 1)
        assert counters["drop_slow"] == door.MOST_STREAMS
        reader, writer = await connect(port)
        writer.write(framed("bob.ipop"))
        assert (await next_answer(reader)).answer
        writer.close()


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
