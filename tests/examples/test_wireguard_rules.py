"""The rules of the WireGuard example: who is let in, what is read, what crosses the card."""

from __future__ import annotations

import sys
from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples.installing import EXAMPLES

sys.path.append(str(EXAMPLES / "ipop-wireguard"))

from ipop_wireguard.card import Card
from ipop_wireguard.firewall import ruleset
from ipop_wireguard.peers import BadHello, Hello, Peer, Peers, decode, encode
from ipop_wireguard.silence import LOOKS, Silence
from ipop_wireguard.tunnel import Figures, read_figures

OWN, KEY, OTHER_KEY = (letter * 32 for letter in (b"o", b"k", b"l"))
BOB, CAROL = b"b" * 20, b"c" * 20
TWENTY, THIRTY = ip_address("192.168.10.20"), ip_address("fd00:10::30")
CARD = Card("tapipop", 7, 1500, (ip_interface("192.168.10.10/24"), ip_interface("fd00:10::10/64")))


@given(
    st.builds(
        Hello,
        st.binary(min_size=32, max_size=32),
        st.integers(1, 65535),
        st.lists(st.ip_addresses().map(lambda ip: ip.packed), max_size=8).map(tuple),
        st.booleans(),
    )
)
def test_a_hello_is_read_as_it_was_written(hello: Hello) -> None:
    assert decode(encode(hello)) == (hello, tuple(map(ip_address, hello.addresses)))


@given(st.binary(max_size=200))
def test_what_is_none_is_refused(data: bytes) -> None:
    try:
        hello, addresses = decode(data)
    except BadHello:
        return
    assert len(hello.key) == 32
    assert len(addresses) <= 8


@pytest.mark.parametrize("size", [0, 5, 15])
def test_an_address_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(BadHello):
        decode(encode(Hello(KEY, 1, (bytes(size),), False)))


def test_a_peer_is_put_once_and_its_new_key_replaces_the_old_one() -> None:
    peers = Peers(OWN)
    bob, again = Peer(BOB, KEY, 1, (TWENTY,)), Peer(BOB, OTHER_KEY, 1, (TWENTY,))
    assert peers.put(bob) == ([], [bob])
    assert peers.put(bob) == ([], [])
    assert peers.put(again) == ([bob], [again])
    assert list(peers) == [again]


def test_a_key_that_is_somebody_elses_is_refused() -> None:
    peers = Peers(OWN)
    bob = Peer(BOB, KEY, 1, (TWENTY,))
    peers.put(bob)
    assert peers.put(Peer(CAROL, KEY, 1, (THIRTY,))) is None
    assert peers.put(Peer(CAROL, OWN, 1, (THIRTY,))) is None
    assert list(peers) == [bob]


def test_an_address_that_changed_hands_is_the_new_owners_alone() -> None:
    peers = Peers(OWN)
    bob, carol = Peer(BOB, KEY, 1, (TWENTY, THIRTY)), Peer(CAROL, OTHER_KEY, 1, (TWENTY,))
    peers.put(bob)
    left = Peer(BOB, KEY, 1, (THIRTY,))
    assert peers.put(carol) == ([bob], [carol, left])
    assert set(peers) == {carol, left}
    assert left.endpoint == "[fd00:10::30]:1"


def test_who_lets_hear_nothing_while_something_is_sent_is_noticed() -> None:
    silence = Silence()

    def looks(*counts: tuple[int, int]) -> list[bool]:
        return [bool(silence.look([Figures("key", (str(TWENTY),), 0, got, sent)])) for got, sent in counts]

    assert looks((5, 0), (5, 9), (5, 18)) == [False] * LOOKS
    assert looks((5, 27), (5, 36)) == [True, False]
    assert looks((5, 36), (6, 45), (6, 54), (6, 63), (6, 63)) == [False] * 5


def test_figures_are_those_of_wg() -> None:
    line = "a2V5\t(none)\t192.168.10.20:51820\t192.168.10.20/32,fd00:10::20/128\t1700000000\t12\t34\toff"
    assert read_figures(line) == Figures("a2V5", ("192.168.10.20", "fd00:10::20"), 1700000000, 12, 34)
    assert read_figures("a2V5\t(none)\t(none)\t(none)\t0\t0\t0\toff").addresses == ()


def test_who_may_be_a_peer() -> None:
    assert CARD.may_belong_to_peer(TWENTY)
    assert not any(map(CARD.may_belong_to_peer, map(ip_address, ("192.168.10.10", "192.168.11.1", "fd00:11::1"))))


def test_rules_end_with_dropping_whatever_else_crosses_the_card() -> None:
    chains = ruleset(CARD, 51820).split("chain ")
    for name in ("from-card", "to-card"):
        (chain,) = (text for text in chains if text.startswith(name))
        assert "counter drop\n  }" in chain
    assert "iif 7 jump from-card" in ruleset(CARD, 51820)
