"""What the demo calls a fault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipop_core.demo.ipsec_figures import IpsecFigures

GOOD = IpsecFigures(
    kernel="uml",
    sent=10,
    received=10,
    esp_packets=20,
    plaintext_hits=0,
    received_one_side_off=0,
    sent_both_off=5,
    received_both_off=5,
    plaintext_hits_both_off=10,
)


def test_as_it_ought_to_be() -> None:
    assert list(GOOD.faults()) == []


@pytest.mark.parametrize(
    ("altered", "said"),
    [
        ({"received": 9}, "1 of 10 pings were lost with IPsec on"),
        ({"esp_packets": 3}, "only 3 ESP packets"),
        ({"plaintext_hits": 1}, "1 packets could be read"),
        ({"received_one_side_off": 2}, "2 pings were answered"),
        ({"received_both_off": 0}, "5 pings were lost with IPsec off"),
        ({"plaintext_hits_both_off": 0}, "proves nothing"),
    ],
)
def test_what_is_a_fault(altered: dict[str, int], said: str) -> None:
    (fault,) = replace(GOOD, **altered).faults()  # type: ignore[arg-type]  # every one of these fields is a number
    assert said in fault
