"""The disk under a node's state folder is full, or turns read-only, while the node runs."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import Town
from tests.system.node import Node, kill
from tests.uml.town import eventually

pytestmark = [pytest.mark.net, pytest.mark.slow]

KNOWN = "topology/known-peers.json"
FAULT = "known peers can't be kept on disk"
OVER = "known peers are kept on disk again"


@pytest.fixture
def disk(town: Town) -> Iterator[Path]:
    """A small file system."""
    folder = town.lab.folder / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


def mount(*options: str) -> None:
    subprocess.run(["mount", *options], check=True)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield
    filler.unlink()


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    mount("-o", "remount,ro", str(folder))
    yield
    mount("-o", "remount,rw", str(folder))


def lines(node: Node, word: str) -> int:
    return sum(word in line for line in node.log.read_text().splitlines())


def test_links_stay_a_line_is_logged_and_what_is_new_is_written_when_it_is_over(town: Town, disk: Path) -> None:
    erin = town.overlay.member("erin", town.lab.host("erin", town.public), "192.168.10.40/24")
    erin.document["node"]["state"] = str(disk)
    erin.start().ready()
    known = disk / KNOWN
    try:
        eventually(known.exists, bool)
        for number, fault in enumerate((full, read_only), 1):
            with fault(disk):
                before = known.read_bytes()
                # A module that dies meanwhile comes back.
                kill(erin.module_pid("topology"))
                erin.ready()
                # A peer that starts again at another port is something to write.
                assert town.carol.stop() == 0
                town.carol.document["modules"]["tincan"]["port"] = 4750 + number
                town.carol.start().ready()
                assert erin.ping(town.carol.address).received == 3
                erin.until_direct(town.carol)
                eventually(lambda: lines(erin, FAULT), lambda count, number=number: count == number)
                assert erin.ping(town.alice.address, count=10).received == 10
                assert known.read_bytes() == before
            eventually(lambda: lines(erin, OVER), lambda count, number=number: count == number)
            assert f":{4750 + number}" in known.read_text()
        assert lines(erin, FAULT) == 2
    finally:
        town.carol.document["modules"]["tincan"].pop("port", None)
        erin.stop()
        town.carol.stop()
        town.carol.start().ready()
