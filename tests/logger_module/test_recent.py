"""The last lines of every process, for whoever looks at the running node."""

from __future__ import annotations

import logging
from pathlib import Path

from ipop_modules.logger.lines import text_line
from ipop_modules.logger.outputs import Descriptor
from ipop_modules.logger.recent import FOLDER, FULL, LONGEST, Recent, read_recent
from ipop_modules.logger.writer import Writer


def record(message: str, created: float = 0.0) -> logging.LogRecord:
    """`created` is by a clock that may be set at any time."""
    made = logging.LogRecord("ipop.tincan", logging.INFO, __file__, 0, message, (), None)
    made.created = created
    made.fields = {"node": "ab"}
    return made


def test_lines_of_all_processes_in_order(tmp_path: Path) -> None:
    one, other = Recent(tmp_path, "tincan"), Recent(tmp_path, "signal")
    for moment in range(0, 10, 2):
        one.add(record(f"line {moment}", 1e9 - moment * 3e6))
        other.add(record(f"line {moment + 1}", 1e9 + moment * 3e6))
    lines = read_recent(tmp_path, 4)
    assert [line["message"] for line in lines] == ["line 6", "line 7", "line 8", "line 9"]
    assert (lines[0]["process"], lines[0]["level"], lines[0]["node"]) == ("tincan", "info", "ab")
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    recent = Recent(tmp_path, "tincan")
    for number in range(3000):
        recent.add(record(f"line {number} " + "x" * 100, number))
    sizes = [path.stat().st_size for path in (tmp_path / FOLDER).iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= FULL
    assert read_recent(tmp_path, 1)[0]["message"].startswith("line 2999 ")
    assert len(read_recent(tmp_path, 500)) > 100


def test_a_huge_line_is_left_out(tmp_path: Path) -> None:
    recent = Recent(tmp_path, "tincan")
    recent.add(record("x" * LONGEST))
    assert read_recent(tmp_path, 10) == []


def test_garbage_in_the_folder_is_passed_over(tmp_path: Path) -> None:
    recent = Recent(tmp_path, "tincan")
    recent.add(record("good"))
    (tmp_path / FOLDER / "bad.log").write_bytes(b"\xff{\n1 [1]\n1 {}\nx {\n\n" + b'{"time": "half')
    assert [line["message"] for line in read_recent(tmp_path, 10)] == ["good"]


def test_a_folder_that_is_gone_costs_no_line_of_the_log(tmp_path: Path) -> None:
    recent = Recent(tmp_path, "tincan")
    writer = Writer("tincan", text_line, Descriptor(2), recent)
    for path in (tmp_path / FOLDER).iterdir():
        path.unlink()
    (tmp_path / FOLDER).rmdir()
    writer.handle(record("still written"))
    assert writer.counters == {"written": 1, "repeated": 0, "lost": 0}
