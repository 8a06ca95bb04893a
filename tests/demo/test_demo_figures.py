from __future__ import annotations

import dataclasses
from itertools import product
from typing import Any

import pytest

from ipop_core.demo.figures import Figures, is_direct_possible, round_trips
from ipop_core.demo.narrator import Narrator
from ipop_core.demo.ping import Reply
from ipop_core.demo.timeline import narrate_timeline
from ipop_core.lab import FIVE_KINDS

GOOD = Figures(
    place="namespaces",
    nat="port-restricted,port-restricted",
    sent=20,
    received=20,
    lost=0,
    lookup_ms=30.0,
    looked_up_after_ms=35.0,
    first_reply_ms=60.0,
    first_reply_hops=2,
    relay_rtt_ms=2.0,
    direct=True,
    direct_after_ms=400.0,
    direct_rtt_ms=1.0,
    relayed_by_others=0,
    canary_on_card=40,
    canary_on_public=0,
    cards_up_ms={"alice": 500.0, "bob": 510.0},
    start_ms=5000.0,
    pss_mb={"alice": 80.0, "bob": 80.0},
)


def test_figures_as_they_ought_to_be_have_no_fault() -> None:
    assert list(GOOD.faults()) == []
    assert list(dataclasses.replace(GOOD, place="loopback", canary_on_card=None, canary_on_public=None).faults()) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"received": 19, "lost": 1}, "1 of 20 pings were lost"),
        ({"direct": False}, "no direct path"),
        ({"nat": "symmetric,port-restricted"}, "where none should be possible"),
        ({"canary_on_public": 3}, "3 packets on the public segment could be read"),
        ({"canary_on_card": 0}, "proves nothing"),
    ],
)
def test_each_fault_is_told(changes: dict[str, Any], fault: str) -> None:
    (told,) = dataclasses.replace(GOOD, **changes).faults()

    assert fault in told


def test_which_pairs_of_nats_stay_on_the_relay() -> None:
    pairs = product([kind.value for kind in FIVE_KINDS], repeat=2)
    impossible = {pair for pair in pairs if not is_direct_possible(*pair)}

    assert impossible == {
        ("symmetric", "symmetric"),
        ("symmetric", "port-restricted"),
        ("port-restricted", "symmetric"),
    }


def reply(sequence: int, rtt_ms: float) -> Reply:
    return Reply(sequence, sequence * 0.2 + rtt_ms / 1000, rtt_ms)


def test_round_trips_before_and_after_the_change_of_path() -> None:
    replies = [reply(1, 90.0), reply(2, 4.0), reply(3, 6.0), reply(4, 5.0), reply(5, 1.0), reply(6, 3.0)]

    assert round_trips(replies, direct_from=5) == (5.0, 2.0)


def test_pings_that_waited_for_the_lookup_are_no_measure() -> None:
    replies = [reply(1, 500.0), reply(2, 300.0), reply(3, 100.0), reply(4, 5.0), reply(5, 1.0)]

    assert round_trips(replies, direct_from=5) == (5.0, 1.0)
    assert round_trips(replies[:3], direct_from=None) == (200.0, None)


def test_round_trips_of_few_replies() -> None:
    assert round_trips([], None) == (None, None)
    assert round_trips([reply(1, 9.0)], None) == (9.0, None)
    assert round_trips([reply(1, 9.0)], direct_from=1) == (None, 9.0)


def test_a_direct_path_before_the_first_reply_is_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    for relay_rtt_ms, told in ((2.0, "over the overlay: 2.0 ms"), (None, "the direct path was there before")):
        narrate_timeline(Narrator(to_stderr=False), dataclasses.replace(GOOD, relay_rtt_ms=relay_rtt_ms), "")
        assert told in capsys.readouterr().out
