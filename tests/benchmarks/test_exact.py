"""Loss, duplication and corruption are told apart."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import exact
from benchmarks.exact import SMALLEST, Script, Tally, script
from ipop_core.lab import LabError


def flow(seed: int = 1) -> Script:
    return Script([[21, 13], [1401]], random.Random(seed))


def after(*datagrams: bytes) -> Tally:
    tally = Tally(sent=3)
    for datagram in datagrams:
        tally.take(flow(), datagram)
    return tally


def test_all_that_arrived_once_and_whole_is_no_fault() -> None:
    tally = after(*map(flow().datagram, (2, 0, 1)))
    assert (tally.lost, tally.duplicated, tally.corrupt) == (0, 0, 0)


def test_a_missing_datagram_is_lost() -> None:
    tally = after(flow().datagram(0), flow().datagram(2))
    assert (tally.lost, tally.duplicated, tally.corrupt) == (1, 0, 0)


def test_a_second_copy_is_a_duplicate() -> None:
    tally = after(*map(flow().datagram, (0, 1, 2, 1)))
    assert (tally.lost, tally.duplicated, tally.corrupt) == (0, 1, 0)


@pytest.mark.parametrize("at", [0, 9, 11, 12, 20])
def test_a_changed_byte_is_corruption_wherever_it_is(at: int) -> None:
    changed = bytearray(flow().datagram(0))
    changed[at] ^= 1
    tally = after(bytes(changed), *map(flow().datagram, (1, 2)))
    assert (tally.lost, tally.duplicated, tally.corrupt) == (1, 0, 1)


@pytest.mark.parametrize("datagram", [flow().datagram(0)[:-1], flow().datagram(0) + b"\0", b"", flow(2).datagram(0)])
def test_a_shorter_a_longer_and_a_strange_datagram_are_corruption(datagram: bytes) -> None:
    assert after(datagram).corrupt == 1


@given(st.integers(1280, 9000), st.sampled_from([28, 48]), st.integers(0, 1 << 32))
def test_what_is_sent_together_can_be_sent_and_the_edges_of_the_mtu_are_among_it(
    mtu: int, headers: int, seed: int
) -> None:
    made = script(mtu, headers, 12, random.Random(seed))
    assert len(made.groups) == 12
    assert {SMALLEST, mtu - headers - 1, mtu - headers, mtu - headers + 1} <= set(made.sizes)
    for group in made.groups:
        assert min(group) >= SMALLEST
        assert len(group) <= 64
        assert sum(group) <= 65_507
        if len(group) > 1:
            assert max(group) <= mtu - headers
            assert set(group[:-1]) == {group[0]}
            assert group[-1] <= group[0]


class Here:
    """A namespace: this one."""

    def call(self, function: object) -> object:
        return function()  # type: ignore[operator]


@pytest.fixture
def end() -> Iterator[exact.End]:
    yield exact.End(Here(), "127.0.0.1")  # type: ignore[arg-type]


def test_a_flow_over_loopback_arrives_whole(end: exact.End) -> None:
    tally = exact.send_datagrams(end, end, script(1500, 28, 40, random.Random(3)))
    assert tally.sent > 40
    assert (tally.lost, tally.duplicated, tally.corrupt) == (0, 0, 0)
    assert exact.send_file(end, end, exact.random_file(1 << 16))


def test_a_file_that_arrives_otherwise_is_noticed(end: exact.End, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_digest", lambda server: server.accept()[0].close() or b"other")
    assert not exact.send_file(end, end, b"file")


def test_a_file_for_which_nobody_listens_is_an_error_with_both_addresses(
    end: exact.End, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "_STALLED", 0.05)
    monkeypatch.setattr(socket, "create_connection", refused)
    with pytest.raises(LabError, match=r"TCP from 127\.0\.0\.1 to 127\.0\.0\.1"):
        exact.send_file(end, end, b"file")


def refused(*_: object) -> None:
    raise ConnectionRefusedError
