"""What an IPsec run comes to: ratios of each round, the longest silence, and what is printed."""

from __future__ import annotations

import io
import math
from typing import Any

from rich.console import Console

from benchmarks.ipsec import SHOWN, show, summarize
from benchmarks.protected import longest_silence


def found() -> dict[str, Any]:
    def run(value: float) -> dict[str, float]:
        return dict.fromkeys(SHOWN, value)

    pings = {"sent": 100, "lost": 1, "flowing_after_s": 0.25, "keys_after_s": 1.5}
    packets = {"plaintext": 0, "esp": 199, "uncaptured": 0}
    return {
        "on": [run(10), run(30), run(50)],
        "off": [run(100), run(200), run(100)],
        "killed": pings | packets,
        "rekeyed": {"changes": 2, "sent": 1000, "lost": 3},
    }


def test_the_ratio_is_the_median_of_each_round_s_own() -> None:
    summary = summarize(found())
    assert summary["on"]["tcp_mbps"] == 30
    assert summary["off"]["tcp_mbps"] == 100
    assert summary["ratio"]["tcp_mbps"] == 0.15
    assert summary["killed"]["lost"] == 1


def test_all_that_a_fault_cost_is_printed() -> None:
    page = io.StringIO()
    show(Console(file=page, width=400), summarize(found()))
    assert (
        "1 of 100 pings lost, longest silence 0.25 s, new keys after 1.5 s; 0 packets could be read" in page.getvalue()
    )
    assert "keys changed 2 times: 3 of 1000 datagrams lost" in page.getvalue()


def test_a_silence_is_counted_from_the_last_answer_before_it() -> None:
    assert longest_silence([1.0, 2.0, 5.0, 6.0], since=2.5) == 3.0
    assert longest_silence([1.0, 9.0, 10.0], since=9.5) == 1.0
    assert math.isinf(longest_silence([1.0, 2.0], since=2.5))
