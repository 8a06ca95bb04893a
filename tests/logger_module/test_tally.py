"""How many lines each process of a node said."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ipop_modules.logger.lines import text_line
from ipop_modules.logger.outputs import Descriptor
from ipop_modules.logger.tally import FOLDER, NAMES, Tally, read_tallies
from ipop_modules.logger.writer import Writer


def said(run: Path, process: str, *levels: int, descriptor: int) -> None:
    """One process says a line of each level, the last one twice more."""
    log = logging.Logger("ipop.test")
    log.addHandler(Writer(process, text_line, Descriptor(descriptor), tally=Tally(run, process)))
    for level in levels:
        log.log(level, "a line of level %s", level)
    for _ in range(2):
        log.log(levels[-1], "a line of level %s", levels[-1])
    log.handlers[0].close()


def test_lines_are_counted_by_process_and_level_and_a_process_that_comes_back_goes_on(tmp_path: Path) -> None:
    sink = os.open("/dev/null", os.O_WRONLY)
    said(tmp_path, "tincan", logging.DEBUG, 17, logging.INFO, descriptor=sink)
    said(tmp_path, "tincan", logging.WARNING, logging.CRITICAL, logging.ERROR, descriptor=sink)
    said(tmp_path, "signal", logging.INFO, descriptor=sink)
    os.close(sink)
    # A count of repeats is a line of its own, of the level of what it counts.
    assert read_tallies(tmp_path) == {
        "signal": dict(zip(NAMES, (0, 2, 0, 0, 2, 0), strict=True)),
        "tincan": dict(zip(NAMES, (2, 2, 1, 3, 4, 0), strict=True)),
    }
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700


def test_lost_lines_are_counted(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    said(tmp_path, "tincan", logging.INFO, logging.ERROR, descriptor=full)
    os.close(full)
    assert read_tallies(tmp_path)["tincan"] == dict(zip(NAMES, (0, 0, 0, 0, 2, 3), strict=True))


def test_a_file_of_another_kind_counts_as_nothing_and_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "tincan").write_bytes(b"odd")
    assert set(read_tallies(tmp_path)["tincan"].values()) == {0}
    Tally(tmp_path, "tincan").line(logging.INFO)
    assert read_tallies(tmp_path)["tincan"]["info"] == 1


def test_where_there_is_no_folder_a_process_counts_for_itself() -> None:
    tally = Tally(Path("/nowhere"), "tincan")
    tally.add("lost")
    assert tally.counts["lost"] == 1
    assert read_tallies(Path("/nowhere")) == {}
