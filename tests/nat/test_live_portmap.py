"""Two nodes behind symmetric NATs, of which one's router speaks PCP: they get a direct path."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address
from threading import Thread

import pytest

from ipop_core.lab import Home, Laboratory, NatKind
from tests.system.overlay import Overlay

pytestmark = [pytest.mark.net, pytest.mark.slow]

OUTER_PORT = 50_000


def serve_pcp(home: Home) -> None:
    """Answer MAP requests on the router, whose rules pass on that port already."""
    assert home.router is not None
    router = home.router.wan.namespace
    chain = "chain mapped { type nat hook prerouting priority dstnat;"
    rule = f'iifname "wan" udp dport {OUTER_PORT} dnat to {home.host.address}:4741;'
    router.run(["nft", "-f", "-"], stdin=f"table ip pcp {{ {chain} {rule} }}; }}\n")

    def bound() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((str(home.router.lan.gateway) if home.router else "", 5351))
        return sock

    sock = router.call(bound)

    def answer() -> None:
        outer = bytes(10) + b"\xff\xff" + ip_address(home.public_address).packed
        while True:
            request, client = sock.recvfrom(1100)
            header = struct.pack("!BBBBII12x", 2, 0x81, 0, 0, 600, 1)
            sock.sendto(header + request[24:42] + struct.pack("!H", OUTER_PORT) + outer, client)

    Thread(target=answer, daemon=True).start()


def test_a_port_mapping_opens_a_symmetric_nat(lab: Laboratory) -> None:
    overlay = Overlay(lab, lab.segment())
    overlay.start()
    homes = [overlay.home(name, NatKind.SYMMETRIC) for name in ("alice", "bob")]
    serve_pcp(homes[0])
    alice, bob = (
        overlay.member(home.name, home.host, f"192.168.10.{number}/24").start()
        for home, number in zip(homes, (10, 20), strict=True)
    )
    for node in (alice, bob):
        node.ready(timeout=40.0)
    mapping = alice.ask("link", "netcheck")["port_mapping"]
    assert (mapping["protocol"], mapping["outer"]) == ("pcp", f"{homes[0].public_address}:{OUTER_PORT}")
    assert alice.ask("link", "netcheck")["port_mapping_fault"] is None
    router = homes[1].router
    assert router is not None
    without = bob.ask("link", "netcheck")
    assert without["port_mapping"] is None
    assert without["port_mapping_fault"].startswith(f"the router, {router.lan.gateway}, ")
    assert bob.ping(alice.address, count=5).received == 5
    bob.until_direct(alice)
    found = bob.ask("link", "why", {"node": alice.node_id()})
    assert found["endpoint"] == f"{homes[0].public_address}:{OUTER_PORT}"
