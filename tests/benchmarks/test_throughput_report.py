"""Medians, spread and ratios of a throughput run, and the picture of them."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks import picture, report
from benchmarks.measure import Run
from benchmarks.report import Result


def run(tcp: float, rtt: float = 100.0) -> Run:
    return Run(tcp, udp_kpps=10.0, udp_clean_kpps=9.0, rtt_us=rtt, cpu_s_per_gbit=0.5, cpu_left=0.4, cpu_right=0.6)


@pytest.fixture
def results() -> list[Result]:
    ours = Result("ipop", "1.0", "defaults", 1500, [run(3000), run(2000), run(5000)])
    peer = Result("nebula", "1.6", "tuned", 1440, [run(500)])
    return [
        Result("raw", "Linux", "veth", 1500, [run(10_000)]),
        ours,
        peer,
        Result("tinc", "1.0", failures=["no <tun>"]),
    ]


def test_the_figure_is_the_median_and_the_spread_half_of_the_range(results: list[Result]) -> None:
    assert results[1].median("tcp_mbps") == 3000
    assert results[1].spread("tcp_mbps") == 0.5


def test_ratios_are_of_medians(results: list[Result]) -> None:
    _, ours, peer, failed = results
    assert report.ratio(ours, peer, "tcp_mbps") == 6.0
    assert report.ratio(ours, failed, "tcp_mbps") is None
    assert report.ratio(None, peer, "tcp_mbps") is None


def test_json_has_an_entry_for_each_peer_with_its_runs_and_conditions(results: list[Result]) -> None:
    shown = json.loads(json.dumps(report.as_json(results, {"mtu": 1500})))
    assert list(shown) == ["raw", "ipop", "nebula", "tinc"]
    assert shown["ipop"]["tcp_mbps"] == 3000
    assert [one["tcp_mbps"] for one in shown["ipop"]["runs"]] == [3000, 2000, 5000]
    assert shown["nebula"]["version"] == "1.6"
    assert shown["nebula"]["mtu"] == 1500
    assert shown["tinc"]["tcp_mbps"] is None
    assert shown["tinc"]["failures"] == ["no <tun>"]


def test_the_table_shows_our_ratio_to_each_peer_and_what_failed(results: list[Result]) -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(report.table(results, "title"))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    nebula = next(line for line in lines if "nebula" in line)
    assert "x6.00" in nebula
    assert "failed" in next(line for line in lines if "tinc" in line)
    assert " x" not in next(line for line in lines if "ipop" in line)


def test_the_picture_has_a_bar_for_each_tunnel_as_long_as_its_figure(results: list[Result]) -> None:
    namespace = "{http://www.w3.org/2000/svg}"
    root = ElementTree.fromstring(picture.draw(results, "TCP <here>"))
    bars = root.findall(f"{namespace}rect")
    assert [bar.get("class") for bar in bars] == ["ours", "bar"]
    assert float(bars[0].get("width", 0)) == pytest.approx(6 * float(bars[1].get("width", 0)), rel=0.01)
    title = root.find(f"{namespace}text")
    assert title is not None
    assert title.text == "TCP <here> (the wire itself: 10,000)"
