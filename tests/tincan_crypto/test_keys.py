from __future__ import annotations

import os
from math import inf
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol.keys import MAX_NUMBER, BadBlock, KeyPair, KeysExhausted, rekey_time
from ipop_modules.tincan.link.protocol.replay import WINDOW, ReplayWindow


def pair(now: float = 0.0) -> tuple[KeyPair, KeyPair]:
    there, back = AESGCM(os.urandom(32)), AESGCM(os.urandom(32))
    return (
        KeyPair(there, back, 11, 22, is_initiator=True, now=now),
        KeyPair(back, there, 22, 11, is_initiator=False, now=now),
    )


def refusal(keys: KeyPair, number: int, sealed: bytes) -> str:
    with pytest.raises(BadBlock) as refused:
        keys.open(number, sealed)
    return refused.value.reason


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_what_is_sealed_opens_once(plaintexts: list[bytes]) -> None:
    alice, bob = pair()
    for number, plaintext in enumerate(plaintexts):
        sealed_number, sealed = alice.seal(plaintext)
        assert sealed_number == number
        assert len(sealed) == len(plaintext) + 16
        assert bob.open(number, memoryview(sealed)) == plaintext
        assert refusal(bob, number, sealed) == "replay"


def test_the_nonce_is_noise_s_own() -> None:
    key = os.urandom(32)
    keys = KeyPair(AESGCM(key), AESGCM(key), 1, 2, is_initiator=True, now=0.0)
    keys.seal(b"first")
    number, sealed = keys.seal(b"second")
    assert AESGCM(key).decrypt(bytes(4) + number.to_bytes(8, "big"), sealed, None) == b"second"


def test_a_forged_block_does_not_move_the_window() -> None:
    alice, bob = pair()
    number, sealed = alice.seal(b"block")
    assert refusal(bob, 2**63, sealed) == "forged"
    assert refusal(bob, number, sealed[:-1] + bytes([sealed[-1] ^ 1])) == "forged"
    assert refusal(bob, number, b"short") == "forged"
    assert bob.open(number, sealed) == b"block"


@pytest.mark.parametrize("number", [MAX_NUMBER, 2**64 - 1])
def test_a_number_that_no_key_seals_is_forged_whoever_sealed_it(number: int) -> None:
    alice, bob = pair()
    alice._next_number = number
    sealed = alice._encrypt(bytes(4) + number.to_bytes(8, "big"), b"block", None)
    assert refusal(bob, number, sealed) == "forged"
    assert bob.open(MAX_NUMBER - 1, alice._encrypt(bytes(4) + (MAX_NUMBER - 1).to_bytes(8, "big"), b"last", None))


def test_exhausted_keys_seal_no_more() -> None:
    alice, _ = pair()
    alice._next_number = MAX_NUMBER - 1
    assert alice.seal(b"last")[0] == MAX_NUMBER - 1
    with pytest.raises(KeysExhausted):
        alice.seal(b"one too many")


def test_idle_keys_live_an_hour() -> None:
    keys, _ = pair(now=1000.0)
    assert (keys.rekey_at, keys.refuse_at) == (4600.0, 4660.0)


def test_keys_that_carry_card_traffic_live_two_minutes() -> None:
    keys, _ = pair(now=1000.0)
    keys.note_card_traffic(1001.0)
    assert (keys.rekey_at, keys.refuse_at) == (1120.0, 1180.0)
    keys.note_card_traffic(3000.0)
    assert keys.rekey_at == 1120.0


def test_the_first_card_traffic_on_old_keys_changes_them_at_once() -> None:
    keys, _ = pair(now=1000.0)
    keys.note_card_traffic(2000.0)
    assert (keys.rekey_at, keys.refuse_at) == (2000.0, 2060.0)
    keys, _ = pair(now=1000.0)
    keys.note_card_traffic(4650.0)
    assert keys.rekey_at == 4600.0


@given(st.floats(0, 1e6), st.one_of(st.just(inf), st.floats(0, 1e6)))
def test_rekeying_is_between_two_minutes_and_an_hour(created: float, idle: float) -> None:
    assert created + 120 <= rekey_time(created, created + idle) <= created + 3600


class Model:
    """The replay window as a set."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.highest = -1

    def check(self, number: int) -> bool:
        return number > self.highest - WINDOW and number not in self.seen

    def mark(self, number: int) -> None:
        self.seen.add(number)
        self.highest = max(self.highest, number)


steps = st.one_of(
    st.integers(-20, 20),
    st.integers(-WINDOW - 20, -WINDOW + 20),
    st.integers(WINDOW - 20, WINDOW + 20),
    st.integers(-3 * WINDOW, 3 * WINDOW),
    st.integers(2**30, 2**40),
)


@given(st.lists(st.tuples(steps, st.booleans()), max_size=200))
def test_the_window_agrees_with_a_set(moves: list[tuple[int, bool]]) -> None:
    window, model = ReplayWindow(), Model()
    for step, genuine in moves:
        number = max(0, model.highest + step)
        assert window.check(number) == model.check(number), f"number {number}, highest {model.highest}"
        if genuine and model.check(number):
            window.mark(number)
            model.mark(number)
    for number in range(max(0, model.highest - WINDOW - 20), model.highest + 20, 7):
        assert window.check(number) == model.check(number)


class Counting(bytearray):
    writes = 0

    def __setitem__(self, *what: Any) -> None:
        self.writes += 1
        super().__setitem__(*what)


@pytest.mark.parametrize("start", [0, 100, WINDOW - 8])
def test_a_number_that_is_far_ahead_costs_few_writes(start: int) -> None:
    """Any member may skip numbers in every block."""
    window = ReplayWindow()
    window.mark(start)
    window._bitmap = bitmap = Counting(window._bitmap)
    window.mark(start + WINDOW - 1)
    assert bitmap.writes <= 3
    assert not window.check(start)
    assert window.check(start + WINDOW // 2)


def test_a_whole_window_below_the_highest_is_kept() -> None:
    window = ReplayWindow()
    for highest in range(3 * WINDOW, 3 * WINDOW + 9):
        window.mark(highest)
        assert window.check(highest - WINDOW + 1)
        assert not window.check(highest - WINDOW)
