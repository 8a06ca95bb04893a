from __future__ import annotations

import struct
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ipop_core.demo.evidence import LAST, Exchange, exchanges, judge
from ipop_core.lab import Packet

ALICE, BOB, RELAY, OTHER_RELAY = "203.0.113.11", "203.0.113.12", "203.0.113.2", "203.0.113.3"
RELAYS = {RELAY, OTHER_RELAY}
PING, PROBE, HANDSHAKE, RELAYED = 175, 89, 1228, 240

PINGS = [Exchange(number, number * 0.2, number * 0.2 + 0.002) for number in range(1, 21)]


def datagram(source: str, destination: str, size: int, at: float) -> Packet:
    return Packet(at, at, 17, source, 4741, destination, 4741, b"", bytes(size))


def direct(ping: Exchange) -> list[Packet]:
    return [datagram(ALICE, BOB, PING, ping.entered + 0.0005), datagram(BOB, ALICE, PING, ping.entered + 0.001)]


def relayed(ping: Exchange) -> list[Packet]:
    way = [(ALICE, RELAY), (RELAY, OTHER_RELAY), (OTHER_RELAY, BOB), (BOB, RELAY), (RELAY, ALICE)]
    return [datagram(*hop, RELAYED, ping.entered + 0.0002 * (i + 1)) for i, hop in enumerate(way)]


def crossing(pings: Sequence[Exchange], direct_from: int) -> list[Packet]:
    return [packet for ping in pings for packet in (direct if ping.sequence >= direct_from else relayed)(ping)]


def test_pings_that_change_from_the_overlay_to_the_direct_path() -> None:
    found = judge(crossing(PINGS, direct_from=6), ALICE, BOB, RELAYS, PINGS)

    assert found.direct
    assert (found.direct_from, found.direct_at) == (6, PINGS[5].entered + 0.0005)


def test_pings_that_stay_on_the_overlay() -> None:
    found = judge(crossing(PINGS, direct_from=99), ALICE, BOB, RELAYS, PINGS)

    assert not found.direct
    assert found.direct_from is None


def test_one_of_the_last_pings_over_the_overlay_is_not_direct() -> None:
    seen = crossing(PINGS[:-1], direct_from=6) + relayed(PINGS[-1])

    assert not judge(seen, ALICE, BOB, RELAYS, PINGS).direct


def test_a_ping_that_goes_both_ways_is_not_direct() -> None:
    seen = crossing(PINGS, direct_from=1) + relayed(PINGS[-1])

    assert not judge(seen, ALICE, BOB, RELAYS, PINGS).direct


def test_answers_that_come_back_over_the_overlay_are_not_direct() -> None:
    there = [packet for packet in crossing(PINGS, direct_from=1) if packet.source == ALICE]

    assert not judge(there, ALICE, BOB, RELAYS, PINGS).direct


def test_a_probe_between_the_routers_is_no_ping() -> None:
    probes = [datagram(ALICE, BOB, PROBE, ping.entered + 0.0003) for ping in PINGS[:5]]

    assert judge(crossing(PINGS, direct_from=6) + probes, ALICE, BOB, RELAYS, PINGS).direct_from == 6


def test_housekeeping_of_the_ring_is_no_relayed_ping() -> None:
    upwards = [datagram(ALICE, RELAY, HANDSHAKE, ping.entered + 0.0003) for ping in PINGS]
    between_pings = [datagram(RELAY, BOB, HANDSHAKE, ping.entered + 0.1) for ping in PINGS]

    assert judge(crossing(PINGS, direct_from=1) + upwards + between_pings, ALICE, BOB, RELAYS, PINGS).direct


def test_without_pings_nothing_is_direct() -> None:
    assert not judge(crossing(PINGS, direct_from=1), ALICE, BOB, RELAYS, []).direct
    assert len(PINGS) > LAST


def icmp(kind: int, sequence: int, at: float) -> Packet:
    payload = struct.pack("!BBHHH", kind, 0, 0, 7, sequence)
    return Packet(at, at, 1, "192.168.10.10", 0, "192.168.10.20", 0, payload, payload)


def test_exchanges_are_the_answered_pings() -> None:
    seen = [icmp(8, 1, 1.0), icmp(8, 2, 1.2), icmp(0, 2, 1.3), icmp(8, 3, 1.4), icmp(0, 1, 1.5), icmp(0, 9, 1.6)]

    assert exchanges(seen) == [Exchange(1, 1.0, 1.5), Exchange(2, 1.2, 1.3)]


@given(st.integers(-1, 255), st.binary(max_size=40))
def test_any_packet_on_the_card_is_borne(protocol: int, payload: bytes) -> None:
    assert exchanges([Packet(0, 0, protocol, "", 0, "", 0, payload, payload)]) == []
