"""What the kernel counted on a card."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.card.figures import card_figures, read_devices

DEVICES = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier comp
    lo:    1120      16    0    0    0     0          0         0     1120      16    0    0    0     0       0 0
tapipop: 500    5    0    1    0     0          0         0 700       7    0    9    0     0       0          0
"""


def test_what_the_kernel_receives_came_in() -> None:
    expected = {"bytes_in": 500, "packets_in": 5, "bytes_out": 700, "packets_out": 7, "dropped_out": 9}
    assert read_devices(DEVICES, "tapipop") == expected
    assert read_devices(DEVICES, "tap") is None


def test_the_loopback_of_this_machine() -> None:
    found = card_figures("lo")
    assert found is not None
    assert found["bytes_in"] == found["bytes_out"]


@given(st.lists(st.integers(0, 1 << 64), min_size=16, max_size=17), st.from_regex(r"[a-z0-9.]{1,15}", fullmatch=True))
def test_any_card(figures: list[int], name: str) -> None:
    found = read_devices(f"{name}:{' '.join(map(str, figures))}\n", name)
    assert found is not None
    assert found["packets_out"] == figures[9]
