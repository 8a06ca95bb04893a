"""The benchmark of the lane alone runs, and says what it is asked for."""

from __future__ import annotations

import json

import pytest

from benchmarks import lane


def test_the_lane_beside_the_cipher_with_one_session_and_with_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert lane.main(["--json", "--repeats", "1", "--sessions", "3"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == ["98", "1242", "62000"]
    assert all(figures["cipher_us"] > 0 for figures in printed.values())
    assert all({"lane_us", "lane_to_cipher", "with_3_sessions"} <= figures.keys() for figures in printed.values())


def test_single_packets_after_a_pause(capsys: pytest.CaptureFixture[str]) -> None:
    assert lane.main(["--pause", "0.0001", "--repeats", "2"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == ["nothing", "encrypt", "decrypt", "send", "receive"]
    assert all(value > 0 for value in printed.values())
