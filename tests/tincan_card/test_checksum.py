from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.card.protocol import checksum

from .packets import rfc1071


@given(st.binary(max_size=200))
def test_total_is_rfc_1071(data: bytes) -> None:
    assert checksum.total(data) == rfc1071(data)


@given(st.binary(max_size=50).map(lambda data: data + b"\0" * (len(data) % 2)), st.binary(max_size=50))
def test_totals_add_up(first: bytes, second: bytes) -> None:
    assert checksum.finish(checksum.total(first), checksum.total(second)) == ~rfc1071(first + second) & 0xFFFF


def test_rfc_1071_example() -> None:
    assert checksum.total(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2
