from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol import wire
from ipop_modules.tincan.link.protocol.retry import TOKEN_SIZE, check_token, mint_token
from ipop_modules.tincan.link.protocol.wire import BadDatagram, Finish, Init, Response, Retry, parse

rids = st.integers(0, 2**64 - 1)
tokens = st.one_of(st.just(b""), st.binary(min_size=16, max_size=32))
datagrams = st.one_of(
    st.builds(Init, rids, tokens, st.binary(min_size=32, max_size=1300)),
    st.builds(Response, rids, rids, st.binary(min_size=96, max_size=1200)),
    st.builds(Finish, rids, st.binary(min_size=64, max_size=1200)),
    st.builds(Retry, rids, st.binary(min_size=16, max_size=32)),
)


@given(datagrams)
def test_what_is_written_is_read(datagram: wire.HandshakeDatagram) -> None:
    assert parse(datagram.encode()) == datagram
    assert parse(memoryview(datagram.encode())) == datagram


@given(st.binary(max_size=1400), st.integers(0, 6))
def test_random_datagrams_raise_only_bad_datagram(data: bytes, kind: int) -> None:
    for datagram in (data, bytes([kind]) + data):
        try:
            parsed = parse(datagram)
        except BadDatagram:
            continue
        assert parsed.encode() == datagram


@given(datagrams, st.data())
def test_datagrams_cut_short_are_refused_or_shorter(datagram: wire.HandshakeDatagram, data: st.DataObject) -> None:
    whole = datagram.encode()
    short = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        assert parse(short) != datagram
    except BadDatagram:
        return


@pytest.mark.parametrize(
    ("datagram", "text"),
    [
        (b"", "empty"),
        (bytes([5]) + bytes(40), "type 5"),
        (bytes([1]) + bytes(8) + bytes([15]) + bytes(60), "token of 15 bytes, expected none or 16 to 32"),
        (bytes([1]) + bytes(8) + bytes([33]) + bytes(90), "token of 33"),
        (bytes([1]) + bytes(8) + bytes([32]) + bytes(63), "INIT of 73 bytes, expected at least 74"),
        (bytes([4]) + bytes(8) + bytes(33), "token of 33"),
        (bytes([1]) + bytes(9000), "at most 8192"),
    ],
)
def test_the_error_names_what_was_expected(datagram: bytes, text: str) -> None:
    with pytest.raises(BadDatagram, match=text):
        parse(datagram)


@pytest.mark.parametrize("token", [b"", bytes(16)])
def test_padding_fills_an_init_to_its_size(token: bytes) -> None:
    padded = Init(1, token, bytes(32) + bytes(wire.init_padding(token, wire.INIT_SIZE)))
    assert padded.size == len(padded.encode()) == wire.INIT_SIZE
    assert wire.init_padding(token, 0) == 0


HOME = (b"\xc0\xa8\x01\x02", 4000)


def test_a_token_serves_its_own_source_and_key_for_two_buckets() -> None:
    token = mint_token(b"secret", 7, HOME, bytes(32))
    assert len(token) == TOKEN_SIZE
    assert check_token(token, b"secret", 7, HOME, bytes(32))
    assert check_token(token, b"secret", 8, HOME, bytes(32))
    assert not check_token(token, b"secret", 9, HOME, bytes(32))
    assert not check_token(token, b"secret", 6, HOME, bytes(32))
    assert not check_token(token, b"secret2", 7, HOME, bytes(32))
    assert not check_token(token, b"secret", 7, (HOME[0], 4001), bytes(32))
    assert not check_token(token, b"secret", 7, (b"\xc0\xa8\x01\x03", 4000), bytes(32))
    assert not check_token(token, b"secret", 7, HOME, bytes(31) + b"\x01")
    assert check_token(mint_token(b"secret", 0, HOME, bytes(32)), b"secret", 0, HOME, bytes(32))


@given(st.binary(max_size=40))
def test_random_tokens_are_refused(token: bytes) -> None:
    assert not check_token(token, b"secret", 7, HOME, bytes(32))
