"""Nodes in the same network: announcements, and which of those that announce themselves get a link."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.signal.protocol.announcement import LONGEST, Announcement, decode, encode
from ipop_modules.signal.protocol.discovery import (
    ANNOUNCE_EVERY,
    ANSWER_AFTER,
    BOOTSTRAPS_FIRST,
    LINKS_WANTED,
    MOST_KNOWN,
    TRIAL_BURST,
    Announce,
    Dial,
    Discovery,
)

OWN, PEER = "00" * 20, "aa" * 20
AT = "192.0.2.7:4741"


def node(number: int) -> str:
    return f"{number:040x}"


@given(st.binary(min_size=20, max_size=20), st.integers(1, 65_535))
def test_an_announcement_is_read_as_it_was_written(who: bytes, port: int) -> None:
    data = encode(Announcement(who, port))
    assert len(data) <= LONGEST
    assert decode(data) == Announcement(who, port)


@given(st.binary(max_size=300))
def test_other_bytes_raise_value_error_alone(data: bytes) -> None:
    try:
        decode(data)
    except ValueError:
        return


@pytest.mark.parametrize(("who", "port"), [(bytes(19), 1), (bytes(21), 1), (bytes(20), 0), (bytes(20), 65_536)])
def test_an_announcement_out_of_bounds_is_refused(who: bytes, port: int) -> None:
    with pytest.raises(ValueError, match="Expected"):
        decode(encode(Announcement(who, port)))


def test_a_newcomer_is_dialled_and_greeted_soon() -> None:
    machine = Discovery(OWN, 0.0, has_bootstraps=False)
    assert machine.wake(0.0, alone=True) == [Announce()]
    assert machine.next_wake() == ANNOUNCE_EVERY
    assert machine.heard(PEER, AT, 5.0) == [Dial(PEER, AT)]
    assert machine.next_wake() == 5.0 + ANSWER_AFTER
    assert machine.heard(PEER, AT, 6.0) == [], "it is being dialled"
    machine.connected(PEER)
    assert machine.linked == [PEER]
    assert machine.heard(PEER, AT, 7.0) == []
    machine.link_down(PEER)
    assert machine.heard(PEER, AT, 8.0) == [Dial(PEER, AT)]


def test_this_node_s_own_announcement_is_passed_over() -> None:
    assert Discovery(OWN, 0.0, has_bootstraps=False).heard(OWN, AT, 0.0) == []


def test_one_that_fails_is_left_alone_for_a_while() -> None:
    machine = Discovery(OWN, 0.0, has_bootstraps=False)
    machine.heard(PEER, AT, 0.0)
    machine.failed(PEER, 0.0, 0.5)
    assert machine.heard(PEER, AT, 0.0) == []
    assert machine.heard(PEER, AT, 600.0) == [Dial(PEER, AT)]


def test_a_few_links_are_enough() -> None:
    machine = Discovery(OWN, 0.0, has_bootstraps=False)
    dials = [machine.heard(node(number), AT, 0.0) for number in range(1, 10)]
    assert sum(map(len, dials)) == LINKS_WANTED


def test_a_flood_of_names_makes_few_trials_and_little_is_kept() -> None:
    machine = Discovery(OWN, 0.0, has_bootstraps=False)
    dials = 0
    for number in range(1, 1000):
        for effect in machine.heard(node(number), AT, 1.0):
            assert isinstance(effect, Dial)
            dials += 1
            machine.failed(effect.node, 1.0, 0.5)
    assert dials == TRIAL_BURST
    assert len(machine._found) <= MOST_KNOWN


def test_a_node_that_has_a_bootstrap_only_listens() -> None:
    machine = Discovery(OWN, 0.0, has_bootstraps=True)
    assert machine.wake(0.0, alone=True) == [], "bootstraps come first"
    assert machine.wake(BOOTSTRAPS_FIRST, alone=False) == []
    assert machine.heard(PEER, AT, 5.0) == [Dial(PEER, AT)]
    assert machine.wake(30.0, alone=True) == [Announce()]
