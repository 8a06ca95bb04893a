from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.card.protocol import icmp

from .packets import ALICE4, ALICE6, ALICE_MAC, BOB4, BOB6, BOB_MAC, ethernet, ip4, pseudo, rfc1071

PING4 = icmp.Echo(True, ALICE4, BOB4, 77, 3, b"deadbeef!")
PING6 = icmp.Echo(True, ALICE6, BOB6, 77, 3, b"deadbeef!")


@pytest.mark.parametrize("echo", [PING4, PING6, PING4._replace(is_request=False), PING6._replace(is_request=False)])
def test_an_echo_is_built_and_parsed(echo: icmp.Echo) -> None:
    frame = icmp.build(BOB_MAC, ALICE_MAC, echo)
    assert frame[:12] == BOB_MAC + ALICE_MAC
    assert icmp.parse(frame + b"padding") == echo


def test_checksums() -> None:
    frame = icmp.build(BOB_MAC, ALICE_MAC, PING4)
    assert rfc1071(frame[14:34]) == 0xFFFF
    assert rfc1071(frame[34:]) == 0xFFFF
    frame = icmp.build(BOB_MAC, ALICE_MAC, PING6)
    assert rfc1071(pseudo(ALICE6, BOB6, 58, len(frame) - 54) + frame[54:]) == 0xFFFF


def test_fragments_are_refused() -> None:
    body = icmp.build(BOB_MAC, ALICE_MAC, PING4)[34:]
    for fragment, expected in ((0x4000, PING4), (0x2000, None), (0x0001, None)):
        assert icmp.parse(ethernet(ip4(body, 1, source=ALICE4, destination=BOB4, fragment=fragment))) == expected


@given(st.sampled_from([PING4, PING6]), st.integers(14, 60), st.integers(1, 255))
def test_altered_echoes_are_refused_or_differ(echo: icmp.Echo, at: int, flip: int) -> None:
    altered = bytearray(icmp.build(BOB_MAC, ALICE_MAC, echo))
    at = min(at, len(altered) - 1)
    altered[at] ^= flip
    unchecked = len(echo.source) == 16 and (14 <= at < 18 or at == 21)
    assert unchecked or icmp.parse(bytes(altered)) is None


@given(st.binary(max_size=100), st.sampled_from([b"\x08\x00", b"\x86\xdd"]), st.integers(0, 70))
def test_random_input_gives_none(data: bytes, ethertype: bytes, size: int) -> None:
    assert icmp.parse(data) is None
    assert icmp.parse(bytes(12) + ethertype + data) is None
    frame = icmp.build(BOB_MAC, ALICE_MAC, PING6)
    assert size >= len(frame) or icmp.parse(frame[:size]) is None
