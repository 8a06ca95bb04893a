"""What a machine sees of the networks around it: addresses, default routes, routers' addresses on the link."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol.rtnetlink import Neighbour, told
from ipop_modules.tincan.link.surroundings import Router, Surroundings, look
from ipop_modules.tincan.link.watching import LOOKS, Watch
from tests.tincan_card.namespace import Namespace

MAC = bytes.fromhex("020000000001")
HOME = Surroundings((ip_address("192.168.1.7"),), (Router(ip_address("192.168.1.1"), MAC),))


def message(kind: int, body: bytes) -> bytes:
    data = struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body
    return data + bytes(-len(data) % 4)


def attribute(kind: int, value: bytes) -> bytes:
    data = struct.pack("=HH", 4 + len(value), kind) + value
    return data + bytes(-len(data) % 4)


def neighbour(ip: bytes, mac: bytes | None) -> bytes:
    body = struct.pack("=BBHiHBB", 2, 0, 0, 3, 2, 0, 1) + attribute(1, ip)
    return message(28, body + (b"" if mac is None else attribute(2, mac)))


def test_what_matters_is_told() -> None:
    ip = bytes([192, 168, 1, 1])
    default = message(24, bytes(12))
    other_route = message(25, bytes([2, 24]) + bytes(10))
    data = neighbour(ip, MAC) + other_route + message(20, bytes(8)) + neighbour(ip, None) + default + message(16, b"x")
    assert list(told(data)) == [Neighbour(ip, MAC), None, None]


@given(st.binary(max_size=200), st.sampled_from([20, 24, 28]))
def test_no_message_breaks_it(data: bytes, kind: int) -> None:
    assert len(list(told(data))) <= len(data) // 16
    assert len(list(told(message(kind, data)))) <= 1


def card(index: int, flags: int) -> bytes:
    return message(16, struct.pack("=BBHiII", 0, 0, 1, index, flags, 0xFFFFFFFF))


def test_of_cards_it_matters_whether_they_run() -> None:
    watch = Watch(lambda: None, dict)
    up, no_carrier = 0x1043, 0x1003
    assert watch._matters(card(3, up) + card(4, no_carrier))
    assert not watch._matters(card(3, up | 0x100) + card(4, 0x1002))
    assert watch._matters(card(4, up) + card(3, up))
    assert watch._matters(card(3, no_carrier))


@pytest.mark.net
def test_addresses_are_taken_only_of_cards_that_run_and_when_they_may_be_used() -> None:
    namespace = Namespace()
    try:
        for name, peer in (("runs", "peer-r"), ("off", "peer-o"), ("unplugged", "peer-u"), ("ppp", "peer-p")):
            namespace.ip("link", "add", name, "type", "veth", "peer", "name", peer)
        for name in ("runs", "peer-r", "peer-o", "unplugged", "ppp", "peer-p"):
            namespace.ip("link", "set", name, "up")
        for name, last in (("runs", 1), ("off", 2), ("unplugged", 3)):
            namespace.ip("address", "add", f"192.0.2.{last}/32", "dev", name)
        namespace.ip("address", "add", "192.0.2.4", "peer", "192.0.2.5", "dev", "ppp")
        namespace.ip("address", "add", "2001:db8::1/64", "dev", "runs", "nodad")
        namespace.run(lambda: Path("/proc/sys/net/ipv6/conf/runs/dad_transmits").write_text("100"))
        namespace.ip("address", "add", "2001:db8::2/64", "dev", "runs")
        found = namespace.run(look).addresses
    finally:
        namespace.close()
    assert sorted(map(str, found)) == ["192.0.2.1", "192.0.2.4", "2001:db8::1"]


def test_another_router_at_the_same_address_is_another_place() -> None:
    twin = replace(HOME, routers=(Router(ip_address("192.168.1.1"), MAC[::-1]),))
    assert twin.after(HOME).elsewhere(HOME)


def test_a_router_that_the_kernel_forgets_is_remembered() -> None:
    forgotten = replace(HOME, routers=(Router(ip_address("192.168.1.1"), None),)).after(HOME)
    assert forgotten == HOME
    twin = replace(HOME, routers=(Router(ip_address("192.168.1.1"), MAC[::-1]),))
    assert twin.after(forgotten).elsewhere(forgotten)


def test_to_learn_more_of_the_same_router_is_no_move() -> None:
    unknown = replace(HOME, routers=(Router(ip_address("192.168.1.1"), None),))
    assert not HOME.after(unknown).elsewhere(unknown)


def test_new_addresses_and_lost_routes_are_moves() -> None:
    assert replace(HOME, addresses=()).elsewhere(HOME)
    assert replace(HOME, routers=()).after(HOME).elsewhere(HOME)


def test_of_neighbours_only_a_router_at_another_address_on_the_link_matters() -> None:
    router, other = bytes([192, 168, 1, 1]), bytes([192, 168, 1, 2])
    watch = Watch(lambda: None, lambda: {router: MAC})
    assert not watch._matters(neighbour(router, MAC) + neighbour(other, MAC[::-1]))
    assert watch._matters(neighbour(router, MAC[::-1]))
    assert watch._matters(neighbour(other, MAC) + message(24, bytes(12)))


def test_a_move_in_several_steps_is_seen_at_every_step_and_a_flood_is_not() -> None:
    calls = 0

    def changed() -> None:
        nonlocal calls
        calls += 1

    async def flood() -> bool:
        watch = Watch(changed, dict)
        for _ in range(LOOKS + 2):
            watch._settled()
        return watch._timer is not None

    assert asyncio.run(flood()), "what came too fast is looked at later"
    assert calls == LOOKS
