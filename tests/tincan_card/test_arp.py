import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.card.protocol import arp

from .packets import ALICE4, ALICE_MAC, BOB4, BOB_MAC

# A request as tcpdump shows it: who-has 192.168.10.20 tell 192.168.10.10.
REQUEST = bytes.fromhex(
    "ffffffffffff 020203040506 0806 0001 0800 06 04 0001 020203040506 c0a80a0a 000000000000 c0a80a14"
)


def test_a_request_is_built_and_parsed() -> None:
    assert arp.request(ALICE_MAC, ALICE4, BOB4) == REQUEST
    assert arp.parse(REQUEST + bytes(18)) == arp.Message(arp.REQUEST, ALICE_MAC, ALICE4, bytes(6), BOB4)


def test_a_reply_goes_to_the_asker() -> None:
    frame = arp.reply(BOB_MAC, BOB4, ALICE_MAC, ALICE4)
    assert frame[:12] == ALICE_MAC + BOB_MAC
    assert arp.parse(frame) == arp.Message(arp.REPLY, BOB_MAC, BOB4, ALICE_MAC, ALICE4)


@pytest.mark.parametrize("at", [*range(6, 24)])
def test_every_fixed_byte_counts(at: int) -> None:
    """Addresses, types, sizes and the operation; and the sender's address must be the frame's."""
    altered = bytearray(REQUEST)
    altered[at] ^= 0x80
    assert arp.parse(bytes(altered)) is None


def test_a_group_sender_is_refused() -> None:
    assert arp.parse(arp.request(b"\x03" + ALICE_MAC[1:], ALICE4, BOB4)) is None


@given(st.binary(max_size=60), st.integers(0, 42))
def test_random_and_short_input_never_raises(data: bytes, size: int) -> None:
    arp.parse(data)
    assert arp.parse(REQUEST[:size]) is None or size == len(REQUEST)
