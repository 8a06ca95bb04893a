import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipop_modules.signal.protocol.candidates import choose, only_loopback, pack, to_endpoint, unpack
from ipop_modules.signal.protocol.offers import LONGEST_MESSAGE, Answer, Offer, decode, encode

PACKED = st.binary(min_size=6, max_size=6) | st.binary(min_size=18, max_size=18)
OFFER_ID = st.binary(min_size=8, max_size=8)


@given(st.sampled_from([Offer, Answer]), OFFER_ID, st.lists(PACKED, max_size=16))
def test_what_is_encoded_is_decoded(kind: type[Offer] | type[Answer], offer_id: bytes, packed: list[bytes]) -> None:
    message = kind(offer_id, tuple(packed))
    data = encode(message)
    assert len(data) <= LONGEST_MESSAGE
    assert decode(data) == message


@given(st.binary(max_size=200))
@example(b"\x91" * 900)
@example(b"\x93\xa5offer\xc4\x08")
def test_random_bytes_raise_value_error_alone(data: bytes) -> None:
    try:
        decode(data)
    except ValueError:
        return


@given(OFFER_ID, st.lists(PACKED, max_size=16), st.data())
def test_an_altered_message_raises_value_error_alone(offer_id: bytes, packed: list[bytes], data: st.DataObject) -> None:
    altered = bytearray(encode(Offer(offer_id, tuple(packed))))
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        message = decode(bytes(altered))
    except ValueError:
        return
    for endpoint in map(to_endpoint, choose(message.candidates, loopback=True)):
        assert pack(endpoint) is not None


@pytest.mark.parametrize(
    "fields",
    [
        ["offer", b"1234567", []],
        ["offer", b"123456789", []],
        ["offer", b"12345678", [b"12345"]],
        ["offer", b"12345678", [b"1" * 19]],
        ["offer", b"12345678", [b"123456"] * 17],
        ["offer", b"12345678", "text"],
        ["offer", "12345678"],
        ["refusal", b"12345678", []],
        [],
        "offer",
        None,
    ],
)
def test_a_message_of_another_shape_is_refused(fields: object) -> None:
    with pytest.raises(ValueError):
        decode(msgspec.msgpack.encode(fields))


def test_a_later_version_may_add_fields() -> None:
    fields = ["offer", b"12345678", [b"123456"], 2, b"654321", False]
    offer = Offer(b"12345678", (b"123456",), 2, b"654321", False)
    assert decode(msgspec.msgpack.encode([*fields, {"new": 1}])) == offer
    assert decode(msgspec.msgpack.encode(fields[:-1])).able, "an earlier version says nothing of it"


def test_a_message_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 1024"):
        decode(b"\xc0" * 1025)


@pytest.mark.parametrize("endpoint", ["1.2.3.4:4741", "[2001:db8::1]:1", "[::1]:65535"])
def test_an_endpoint_survives_packing(endpoint: str) -> None:
    packed = pack(endpoint)
    assert packed is not None
    assert to_endpoint(packed) == endpoint


@pytest.mark.parametrize("text", ["", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "host:1", "[::1%eth0]:x", "1.2.3.4:٣"])
def test_what_is_no_endpoint_is_not_packed(text: str) -> None:
    assert pack(text) is None


@given(st.binary(max_size=20))
def test_only_six_and_eighteen_bytes_are_candidates(packed: bytes) -> None:
    assert (unpack(packed) is not None) == (len(packed) in {6, 18})


@pytest.mark.parametrize(
    "endpoint",
    [
        "0.0.0.0:1",
        "0.1.2.3:1",
        "224.0.0.1:1",
        "239.255.255.255:1",
        "255.255.255.255:1",
        "240.0.0.1:1",
        "127.0.0.1:1",
        "127.9.9.9:1",
        "169.254.169.254:80",
        "192.0.2.1:0",
        "[::]:1",
        "[::1]:1",
        "[ff02::1]:1",
        "[fe80::1]:1",
        "[::ffff:127.0.0.1]:1",
        "[::ffff:224.0.0.1]:1",
        "[::ffff:0.0.0.0]:1",
    ],
)
def test_unfit_candidates_are_left_out_beside_a_fit_one(endpoint: str) -> None:
    packed = [pack(endpoint), pack("192.0.2.1:4741")]
    chosen = choose([candidate for candidate in packed if candidate], loopback=False)
    assert [to_endpoint(candidate) for candidate in chosen] == ["192.0.2.1:4741"]


def test_a_mapped_address_becomes_the_address_in_it_and_none_comes_twice() -> None:
    packed = [pack(text) for text in ("[::ffff:192.0.2.1]:7", "192.0.2.1:7", "192.0.2.1:8")]
    chosen = choose([candidate for candidate in packed if candidate], loopback=False)
    assert [to_endpoint(candidate) for candidate in chosen] == ["192.0.2.1:7", "192.0.2.1:8"]


def test_sixteen_are_enough() -> None:
    packed = [pack(f"192.0.2.1:{port}") for port in range(1, 40)]
    assert len(choose([candidate for candidate in packed if candidate], loopback=False)) == 16


def test_loopback_alone_is_told_from_loopback_among_others() -> None:
    loopback, public = pack("127.0.0.1:1"), pack("192.0.2.1:1")
    assert loopback is not None
    assert public is not None
    assert only_loopback([loopback])
    assert not only_loopback([loopback, public])
    assert not only_loopback([])
