"""What the matrix covers, how it goes on where it ended, and a short one with real nodes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks import matrix
from benchmarks.matrix import Found, Point
from ipop_core.lab import capabilities
from tests.system.conftest import require

GOOD = Found(1500, 1280, files=4, datagrams=900, lost=2, iperf_runs=8)


def test_each_size_is_the_wire_s_the_card_s_and_both() -> None:
    found = matrix.points()
    sizes = [*range(1280, 9000, 97), 9000]
    assert {point.card for point in found if point.wire == 1500} == {*sizes, 1500}
    assert {point.wire for point in found if point.card == 1500} == {*sizes, 1500}
    assert {point.wire for point in found if point.wire == point.card} == {*sizes, 1500}
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("fault", ["corrupt_files", "duplicated", "corrupt", "checksum_errors"])
def test_loss_alone_is_no_fault(fault: str) -> None:
    assert GOOD.good
    assert not replace(GOOD, **{fault: 1}).good
    assert not replace(GOOD, failure="iperf3: no").good


def test_the_next_call_tries_what_is_missing_or_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    kept = [Found(1280, 1280, files=4), Found(1280, 1500, failure="no tunnel")]
    results.write_text("".join(json.dumps(asdict(entry)) + "\n" for entry in kept))
    tried: list[Point] = []

    def run(wanted: list[Point], done: object, until: float) -> None:
        tried.extend(wanted)
        for point in wanted:
            done(Found(point.wire, point.card, files=4))  # type: ignore[operator]

    monkeypatch.setattr(matrix, "run", run)
    arguments = ["--step", "7720", "--results", str(results), "--json"]
    assert matrix.main(arguments) == 0
    assert Point(1280, 1500) in tried
    assert Point(1280, 1280) not in tried
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert summary["points"] == summary["of"] == len(tried) + 1
    assert summary["files"] == 4 * summary["of"]

    tried.clear()
    assert matrix.main(arguments) == 0
    assert not tried


def test_a_fault_is_the_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(matrix, "run", lambda _wanted, done, _until: done(replace(GOOD, duplicated=1)))
    assert matrix.main([]) == 1
    assert "duplicated 1" in " ".join(capsys.readouterr().out.split())


@pytest.mark.net
@pytest.mark.slow
def test_nothing_is_corrupt_or_twice_at_odd_sizes_of_wire_and_card() -> None:
    rights = capabilities()
    require(rights.laboratory)
    require(rights.tun)
    wanted = [Point(1281, 1500), Point(1500, 1281), Point(1500, 8999), Point(8999, 1500), Point(8999, 7001)]
    found: list[Found] = []
    matrix.run(wanted, found.append)
    assert [entry.point for entry in found] == sorted(wanted)
    for entry in found:
        assert entry.good, entry
        assert entry.files == 4
        assert entry.iperf_runs == 8
        assert entry.datagrams > 400
        assert entry.lost < entry.datagrams // 10
