"""A router that speaks UPnP alone, a real miniupnpd: a mapping is made and ended, and nobody waits for a dead one."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network
from threading import Thread
from typing import TypeVar

import pytest

from ipop_core.lab import Home, Igd, Laboratory, NatKind
from ipop_modules.tincan.link.gateway import ENDING_DELAYS, Gateway
from ipop_modules.tincan.link.protocol.ssdp import SSDP_PORT
from ipop_modules.tincan.link.surroundings import Router
from ipop_modules.tincan.link.upnp import Upnp

pytestmark = [pytest.mark.net, pytest.mark.slow]

PUBLIC = IPv4Network("26.78.0.0/24")
"""As in test_live_gateway.py."""
PORT = 4741
TARPIT_PORT = 5000
PATIENCE = 10.0
T = TypeVar("T")


@pytest.fixture
def home(lab: Laboratory) -> Home:
    return lab.home("upnp", lab.segment("upnp-public", network=PUBLIC), NatKind.SYMMETRIC)


@pytest.fixture
def router(home: Home) -> IPv4Address:
    assert home.router is not None
    return IPv4Address(home.router.lan.gateway or "")


@pytest.fixture
def igd(lab: Laboratory, home: Home) -> Igd:
    assert home.router is not None
    igd = Igd(home.router, lab.folder)
    igd.start(pcp=False, upnp=True)
    return igd


def run(home: Home, work: Callable[[], Awaitable[T]]) -> T:
    """Do it on the home's computer."""

    async def body() -> T:
        return await work()

    return home.host.namespace.call(lambda: asyncio.run(body()))


def test_a_mapping_is_made_by_upnp_where_nothing_else_is_spoken_and_ended_at_the_stop(
    home: Home, router: IPv4Address, igd: Igd
) -> None:
    async def work() -> tuple[str, list[str]]:
        changed = asyncio.Event()
        gateway = Gateway(PORT, bytes(12), time.monotonic, changed.set)
        began = time.monotonic()
        await gateway.ask(Router(router, None))
        assert time.monotonic() - began < 0.5, "to ask takes no time"
        await asyncio.wait_for(changed.wait(), PATIENCE)
        mapped = gateway.mapped
        assert mapped is not None
        made = igd.mappings()
        began = time.monotonic()
        await gateway.end()
        assert time.monotonic() - began < 0.5
        return f"{mapped.protocol} {IPv4Address(mapped.ip)}:{mapped.port}", made

    told, made = run(home, work)
    assert told == f"upnp {home.public_address}:{PORT}"
    assert len(made) == 1
    assert f"{home.host.address}:{PORT}" in made[0]
    assert igd.mappings() == [], "the router was told that nobody needs the port any more"


def test_a_port_that_another_computer_has_gives_way_to_another(
    lab: Laboratory, home: Home, router: IPv4Address, igd: Igd
) -> None:
    assert home.router is not None
    neighbour = Home("next", home.kind, lab.host("next", home.router.lan), home.router)
    other, own = Upnp(PORT, time.monotonic), Upnp(PORT, time.monotonic)
    run(neighbour, lambda: other.ask(router, IPv4Address(neighbour.host.address)))
    run(home, lambda: own.ask(router, IPv4Address(home.host.address)))
    assert other.mapped is not None
    assert other.mapped.port == PORT
    assert own.mapped is not None
    assert own.mapped.port != PORT
    assert len(igd.mappings()) == 2
    run(home, lambda: own.end(5.0))
    assert len(igd.mappings()) == 1, "that of the other computer's stays"


@pytest.fixture
def tarpit(home: Home, router: IPv4Address) -> socket.socket:
    """The router answers a search, takes connections to this socket, and then says nothing."""
    assert home.router is not None

    def opened() -> tuple[socket.socket, socket.socket]:
        searched = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        searched.bind(("", SSDP_PORT))
        return searched, socket.create_server((str(router), TARPIT_PORT))

    searched, server = home.router.wan.namespace.call(opened)
    device = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
    told = f"HTTP/1.1 200 OK\r\nST: {device}\r\nLOCATION: http://{router}:{TARPIT_PORT}/d.xml\r\n\r\n"

    def answer() -> None:
        while True:
            searched.sendto(told.encode(), searched.recvfrom(2000)[1])

    Thread(target=answer, daemon=True).start()
    server.setblocking(False)
    return server


def test_a_router_that_says_nothing_holds_neither_the_loop_nor_the_stop(
    home: Home, router: IPv4Address, tarpit: socket.socket
) -> None:
    async def work() -> float:
        gateway = Gateway(PORT, bytes(12), time.monotonic, lambda: None)
        longest = 0.0
        await gateway.ask(Router(router, None))
        end = time.monotonic() + 5.0  # PCP has been given up by then, and the search was answered
        while time.monotonic() < end:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)
        before = time.monotonic()
        await gateway.end()
        assert time.monotonic() - before < sum(ENDING_DELAYS) + 0.5
        assert gateway.mapped is None
        return longest

    assert run(home, work) < 0.5
    with tarpit:
        tarpit.accept()  # it was asked, indeed
