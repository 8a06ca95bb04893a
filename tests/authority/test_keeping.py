"""Lists of revoked certificates on a disk that fails for a while: others hear of one once they can read it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ipop_core import kept_file
from ipop_core.authority.revocation import read_revocation_list
from ipop_core.testing import memory_bus
from ipop_modules.tincan.revoked import Revoked
from tests.authority.makers import Authority


def test_a_list_is_told_once_it_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_file, "RETRY", 0.02)
    authority = Authority()
    lists = [authority.revoke() for _ in range(3)]
    folder = tmp_path / "away"
    told: list[tuple[int, int]] = []

    async def story() -> None:
        async with memory_bus() as bus:
            client, other = await bus.connect("link"), await bus.connect()
            heard = asyncio.Event()

            def hear(event: Any) -> None:
                on_disk = read_revocation_list(Path(event.body["file"]).read_bytes(), [authority.certificate])
                told.append((event.body["number"], on_disk.number))
                heard.set()

            await other.subscribe("link.crl", hear)
            machine = cast(Any, SimpleNamespace(sessions={}, own=bytes(20)))
            revoked = Revoked(client, machine, folder, clock=lambda: 0.0, after=lambda: None)
            revoked.keep(lists[0])
            revoked.keep(lists[1])
            await asyncio.sleep(0.1)  # many tries
            assert told == []
            folder.mkdir()
            async with asyncio.timeout(10):
                await heard.wait()
            assert told == [(2, 2)]
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
            revoked.keep(lists[2])
            revoked.close()
            folder.mkdir()
            await asyncio.sleep(0.1)
            assert told == [(2, 2)]
            assert not list(folder.iterdir())  # who has stopped writes no more

    asyncio.run(story())
