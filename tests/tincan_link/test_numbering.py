"""Numbers of broadcast frames after a restart, whatever the clock says."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_core.kept_file import KeptFile
from ipop_modules.tincan.numbering import first_number

LOG = logging.getLogger("ipop.test")
NOW = 1.8e9


def test_a_clock_that_was_set_back_makes_no_number_smaller(tmp_path: Path) -> None:
    path = tmp_path / "broadcast"
    firsts = [first_number(KeptFile(path, "numbers", LOG), date) for date in (NOW, NOW + 1, NOW - 3e7, NOW - 3e7)]
    assert firsts == sorted(set(firsts))
    assert firsts[0] == 1_800_000_000_000_000
    assert firsts[2] - firsts[1] > 100 * 31_536_000


@pytest.mark.parametrize("left", [b"", b"x", b"\xff", b"12 13"])
def test_a_broken_file_is_none(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "broadcast"
    path.write_bytes(left)
    assert first_number(KeptFile(path, "numbers", LOG), NOW) == NOW * 1e6


def test_a_disk_that_takes_nothing_leaves_it_to_the_clock(tmp_path: Path) -> None:
    async def story() -> list[int]:
        files = [KeptFile(tmp_path / "away" / "broadcast", "numbers", LOG) for _ in range(2)]
        return [first_number(file, NOW + delay) for delay, file in enumerate(files)]

    one, two = asyncio.run(story())
    assert one < two


@given(st.lists(st.floats(0, 4e9), min_size=2, max_size=6))
def test_numbers_only_grow(tmp_path_factory: pytest.TempPathFactory, dates: list[float]) -> None:
    path = tmp_path_factory.mktemp("numbers") / "broadcast"
    firsts = [first_number(KeptFile(path, "numbers", LOG), date) for date in dates]
    assert firsts == sorted(set(firsts))
