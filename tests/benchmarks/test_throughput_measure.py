"""What ping and iperf3 print, as figures."""

from __future__ import annotations

from benchmarks.measure import Datagrams, parse_datagrams, parse_ping


def test_ping_round_trips_are_in_microseconds() -> None:
    printed = (
        "PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data.\n"
        "64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.451 ms\n"
        "64 bytes from 10.0.0.1: icmp_seq=2 ttl=64 time=12 ms\n"
        "--- 10.0.0.1 ping statistics ---\n"
        "2 packets transmitted, 2 received, 0% packet loss, time 10ms\n"
    )
    assert parse_ping(printed) == [451.0, 12_000.0]


def test_received_datagrams_are_those_that_were_not_lost() -> None:
    got = parse_datagrams({"end": {"sum": {"packets": 1000, "lost_packets": 250, "seconds": 0.5}}})
    assert got == Datagrams(received=750, lost=250, seconds=0.5)
    assert got.rate == 1500
    assert got.loss == 0.25


def test_a_test_in_which_nothing_arrived_has_no_rate() -> None:
    assert Datagrams(received=0, lost=0, seconds=1.0).rate == 0
