"""Figures of rings of several sizes, side by side and as a picture."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import growth

RUNS = (
    {"nodes": 1024, "seed": 1, "hops_mean": 2.75, "hops_p99": 4},
    {"nodes": 256, "seed": 1, "hops_mean": 2.25, "hops_p99": 3},
    {"nodes": 1024, "seed": 1, "join_ms_p50": 2000},
)


def test_the_table_has_a_column_for_each_size_and_what_a_quadrupling_adds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "growth.svg"
    assert growth.main([*_files(tmp_path), "--picture", str(picture)]) == 0
    table = capsys.readouterr().out
    assert re.search(r"256 nodes\W+1,024 nodes", table)
    assert re.search(r"quadrupling.*0\.50", table)
    assert re.search(r"join_ms_p50\W+2000", table)
    shown = {text for element in ElementTree.parse(picture).iter() for text in (element.text or "").split("\n")}
    assert {"256", "1,024", "mean", "Chord's mean"} <= shown


def test_a_quadrupling_between_other_sizes_is_told_by_their_ratio() -> None:
    assert growth.added_per_quadrupling((100, 2.0), (1600, 3.0)) == pytest.approx(0.5)


def test_a_file_that_no_overlay_run_wrote_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"peers": 3}', encoding="utf-8")
    assert growth.main([str(other)]) == 2
    assert "other.json" in capsys.readouterr().err


def _files(folder: Path) -> list[str]:
    files = []
    for number, run in enumerate(RUNS):
        file = folder / f"{number}.json"
        file.write_text(json.dumps(run), encoding="utf-8")
        files.append(str(file))
    return files
