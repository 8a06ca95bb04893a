"""What a node tells peers of its NAT where its router maps a port."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from ipop_modules.tincan.link.protocol.portmap import Mapped
from ipop_modules.tincan.link.protocol.searching import Part
from ipop_modules.tincan.link.surroundings import Surroundings
from ipop_modules.tincan.link.udp import UdpSocket
from ipop_modules.tincan.reach import LOOK_AGAIN, MAX_OWN, Reach

ROUTER, CARRIER, PEERS = (bytes([198, 51, 100, last]) for last in (7, 8, 9))
THEIRS = {"mapping": "endpoint-independent", "endpoint": "203.0.113.5:4741"}


@pytest.fixture
def udp() -> Iterator[UdpSocket]:
    udp = UdpSocket.open(0)
    yield udp
    udp.close()


def behind(udp: UdpSocket, mapped: bytes | None, seen: bytes) -> Reach:
    """A node whose NAT is symmetric: each of two peers sees it at another port of `seen`."""
    reach = Reach(udp, lambda: 100.0, lambda: Mapped("upnp", mapped, 4741, 4000.0) if mapped else None)
    for number in (1, 2):
        reach.observations.add((PEERS, number), (seen, 20_000 + 777 * number), 100.0)
    return reach


def test_a_mapping_at_the_address_that_peers_see_makes_a_search_needless(udp: UdpSocket) -> None:
    reach = behind(udp, ROUTER, ROUTER)
    assert reach.nat_body(True)["endpoint"] is None
    assert reach.search(b"peer", THEIRS) is None


@pytest.mark.parametrize("mapped", [None, ROUTER, bytes([100, 64, 0, 2])])
def test_a_mapping_that_leads_in_from_a_carriers_network_alone_keeps_nobody_from_a_search(
    udp: UdpSocket, mapped: bytes | None
) -> None:
    reach = behind(udp, mapped, CARRIER)
    assert reach.nat_body(True)["endpoint"] is not None
    found = reach.search(b"peer", THEIRS)
    assert found is not None
    assert found[0] is Part.OPEN


def test_many_addresses_of_one_family_leave_room_for_the_other(udp: UdpSocket) -> None:
    reach = Reach(udp, lambda: 100.0, lambda: None)
    bridges = [ip_address(f"172.{number}.0.1") for number in range(17, 30)]
    reach.surroundings = Surroundings((*bridges, ip_address("2001:db8::1"), ip_address("2001:db8::2")))
    offered = reach.candidates()
    assert len(offered) == MAX_OWN
    assert {f"[2001:db8::{last}]:{udp.port}" for last in (1, 2)} < set(offered)


def test_what_was_just_seen_of_the_surroundings_is_not_looked_at_again_for_the_next_peer(udp: UdpSocket) -> None:
    now = [100.0]
    reach = Reach(udp, lambda: now[0], lambda: None)
    assert reach.is_to_look
    asyncio.run(reach.look_around())
    assert not reach.is_to_look
    now[0] += LOOK_AGAIN
    assert reach.is_to_look
