"""Random and altered datagrams on a node's UDP port, and garbage on its bus: dropped and counted, and life goes on."""

from __future__ import annotations

import json
import random
import socket
import struct
from collections.abc import Iterable
from itertools import count
from typing import Any

import pytest
import zmq

from ipop_core.lab import Host
from tests.system.conftest import Town
from tests.system.node import Node
from tests.system.overlay import PORT

pytestmark = [pytest.mark.net, pytest.mark.slow]

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
LARGEST = 1500 - _IPV4.size - _UDP.size
"""Bytes of a datagram that this wire carries whole; some of those captured are as large, to probe just that."""


def lives(node: Node) -> dict[str, object]:
    """What must not change: the processes of the modules, and how often they were started."""
    return {item["name"]: (item["pid"], item["restarts"]) for item in node.ask("core", "status")["modules"]}


def drops(node: Node) -> int:
    return counted(node.counters())


def counted(counters: dict[str, int]) -> int:
    return sum(count for name, count in counters.items() if not name.startswith(("relayed", "neighbour")))


def session_age(node: Node, peer: str) -> float:
    return next(float(item["age_s"]) for item in node.ask("link", "peers")["peers"] if item["node"] == peer)


def test_datagrams_thrown_at_a_node(town: Town) -> None:
    carol, thrower = town.carol, town.mallory.host
    peer = town.bob.node_id()
    rng = random.Random(1)
    with town.lab.capture(carol.host) as capture:
        assert carol.ping(town.bob.address, count=10).received == 10
        genuine = capture.datagrams(destination=carol.host.address)
    assert len(genuine) > 10
    before, lived, age = drops(carol), lives(carol), session_age(carol, peer)
    noise = [(thrower.address, 40_000, rng.randbytes(rng.choice((0, 1, 7, 20, 100, 1200, 1400)))) for _ in range(1500)]
    # Each type of datagram followed by noise, and real ones: cut, lengthened, altered, and as they were.
    noise += [
        (thrower.address, 40_000, bytes([rng.randrange(16)]) + rng.randbytes(rng.randrange(200))) for _ in range(1500)
    ]
    for packet in rng.choices(genuine, k=1500):
        for source, port in ((packet.source, packet.source_port), (thrower.address, 40_000)):
            noise.append((source, port, altered(packet.payload, rng)))
    send(thrower, carol.host.address, noise)
    carol.until("link", "status", lambda body: counted(body["counters"]) - before > len(noise) // 2, timeout=30)
    print(f"{len(noise)} datagrams, {drops(carol) - before} counted: {carol.counters()}")
    assert lives(carol) == lived
    assert session_age(carol, peer) > age
    assert carol.ping(town.bob.address, count=10).received == 10
    assert "Traceback" not in carol.log.read_text()


def altered(data: bytes, rng: random.Random) -> bytes:
    copy = bytearray(data)
    match rng.randrange(4):
        case 0:
            return bytes(copy[: rng.randrange(len(copy) + 1)])
        case 1:
            return bytes(copy) + rng.randbytes(min(rng.randrange(1, 64), LARGEST - len(copy)))
        case 2:
            for _ in range(rng.randrange(1, 4)):
                copy[rng.randrange(len(copy))] ^= 1 << rng.randrange(8)
    return bytes(copy)


def send(host: Host, destination: str, datagrams: Iterable[tuple[str, int, bytes]]) -> None:
    """Send UDP datagrams to the node's port whose source addresses may be false."""

    def throw() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for source, port, data in datagrams:
                udp = _UDP.pack(port, PORT, _UDP.size + len(data), 0)
                size = _IPV4.size + len(udp) + len(data)
                addresses = socket.inet_aton(source), socket.inet_aton(destination)
                raw.sendto(_IPV4.pack(0x45, 0, size, 0, 0, 64, 17, 0, *addresses) + udp + data, (destination, 0))

    host.namespace.call(throw)


def test_garbage_on_the_bus(town: Town) -> None:
    carol = town.carol
    lived = lives(carol)
    path = carol.run_folder / "bus.sock"
    rng = random.Random(2)
    for _ in range(20):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(str(path))
            sock.sendall(rng.randbytes(200))
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.rcvtimeo = 5000
        dealer.connect(f"ipc://{path}")
        for _ in range(500):
            dealer.send_multipart([rng.randbytes(rng.randrange(80)) for _ in range(rng.randrange(1, 5))])
        for text in (
            b"{}",
            b"[]",
            b"null",
            b"[" * 5000,
            b'{"id":1,"kind":"request","to":"link"}',
            b'{"kind":"event"}',
            LONE,
        ):
            dealer.send(text)
        assert ask_raw(dealer, "core", "status", {})["kind"] == "response"
        for role, action, body in NONSENSE:
            answer = ask_raw(dealer, role, action, body)
            print(role, action, body, "->", answer["body"])
            assert answer["kind"] == "error"
            assert "Traceback" not in answer["body"]["message"]
    assert carol.ask("core", "status")["bus"]["garbage"] >= 500
    assert lives(carol) == lived
    assert carol.ping(town.bob.address).received == 3
    assert "Traceback" not in carol.log.read_text()


LONE = b'{"kind":"request","id":9,"to":"link","action":"ping","body":{"address":"\\ud800"}}'
"""Half of a surrogate pair, which no text may hold."""
IDS = count(1)
NODE = "ab" * 20
NONSENSE: tuple[tuple[str, str, Any], ...] = (
    ("link", "nothing", {}),
    ("nobody", "status", {}),
    ("link", "status", {"more": 1}),
    ("link", "connect", {}),
    ("link", "connect", {"kind": "near", "node": "zz" * 20}),
    ("link", "connect", {"kind": "near", "endpoint": "999.1.1.1:4741"}),
    ("link", "connect", {"kind": "near", "endpoint": "[::1]:99999"}),
    ("link", "connect", {"kind": "near", "endpoint": "1.2.3.4:x"}),
    ("link", "probe", {"node": NODE, "candidates": ["nowhere:1"]}),
    ("link", "probe", {"node": NODE, "candidates": [None]}),
    ("link", "release", {"node": 7, "kind": "near"}),
    ("link", "routes", {"member": True, "routes": [{"node": NODE}]}),
    ("link", "send", {"to": NODE, "mode": "exact", "role": "topology"}),
    ("link", "ping", {}),
    ("link", "ping", {"address": "192.168.10.300"}),
    ("link", "ping", {"address": "0x7f000001"}),
    ("link", "echo", {"address": "192.168.10.1"}),
    ("link", "echo", {"address": "192.168.10.1", "payload": "abc"}),
    ("topology", "resolve", {"address": "nowhere"}),
    ("topology", "resolve", {"address": "192.168.10.1/24"}),
    ("topology", "resolve", {"address": ["192.168.10.1"]}),
    ("topology", "peer_message", {"sender": NODE, "mode": "loudly"}),
    ("signal", "peer_message", {"sender": NODE, "mode": "session"}),
    ("core", "subscribe", {"topic": "*"}),
    ("core", "levels", {"level": "loud"}),
    ("core", "hello", {}),
)


def ask_raw(dealer: zmq.Socket[bytes], role: str, action: str, body: Any) -> dict[str, Any]:
    """Send a request that no client of the product would let out; its answer."""
    request = {"kind": "request", "id": next(IDS), "to": role, "action": action, "deadline": 4000, "body": body}
    dealer.send(json.dumps(request).encode())
    while (answer := json.loads(dealer.recv_multipart()[0])).get("id") != request["id"]:
        pass
    return dict(answer)
