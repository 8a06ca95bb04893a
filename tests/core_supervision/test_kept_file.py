"""A file that is kept up to date on a disk that fails for a while."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from ipop_core import kept_file
from ipop_core.kept_file import KeptFile

LOG = logging.getLogger("ipop.test")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_fault_and_its_end_are_said_once_and_the_newest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(kept_file, "RETRY", 0.01)
    folder = tmp_path / "away"
    written = folder / "peers"

    async def story() -> None:
        file = KeptFile(written, "known peers", LOG)
        file.keep(b"one")
        file.keep(b"two")
        await asyncio.sleep(0.1)  # many tries
        assert said(caplog) == ["known peers can't be kept on disk"]
        folder.mkdir()
        async with asyncio.timeout(10):
            while not written.exists():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        assert file.path.read_bytes() == b"two"
        file.keep(b"three")
        assert file.path.read_bytes() == b"three"

    asyncio.run(story())
    assert said(caplog) == ["known peers can't be kept on disk", "known peers are kept on disk again"]
    assert "No such file or directory" in str(caplog.records[0].__dict__["fields"])


def test_who_stops_tries_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_file, "RETRY", 0.01)

    async def story() -> None:
        file = KeptFile(tmp_path / "away" / "peers", "known peers", LOG)
        file.keep(b"one")
        file.close()
        (tmp_path / "away").mkdir()
        await asyncio.sleep(0.1)
        assert not file.path.exists()

    asyncio.run(story())


def test_what_is_older_never_takes_the_place_of_what_is_newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_file, "RETRY", 0.01)

    async def story() -> None:
        file = KeptFile(tmp_path / "away" / "peers", "known peers", LOG)
        file.keep(b"one")
        (tmp_path / "away").mkdir()
        file.keep(b"two")
        await asyncio.sleep(0.1)
        assert file.path.read_bytes() == b"two"

    asyncio.run(story())
