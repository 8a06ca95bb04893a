"""The demo as a person runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ipop_core.demo.programs import own

pytestmark = [pytest.mark.net, pytest.mark.usefixtures("demo_allowed"), pytest.mark.timeout(240)]

PATIENCE = 180
WITHOUT_NAMESPACES = (
    'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set -all --inh-caps -all "$@"'
)


@contextmanager
def demo(*words: str, before: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*before, own("ipop"), "demo", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def outcome(process: subprocess.Popen[str]) -> dict[str, Any]:
    printed, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(printed)
    return found


def left_of(pid: int) -> list[str]:
    """Namespaces, folders and processes of the demo that ran as `pid`."""
    name = f"ipoplab-{pid}-"
    folders = [Path("/run/netns"), Path(tempfile.gettempdir())]
    there = [str(path) for folder in folders if folder.exists() for path in folder.glob(f"{name}*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if name.encode() in words:
            there.append(words.replace(b"\0", b" ").decode())
    return there


def test_alice_reaches_bob_through_two_nats() -> None:
    with demo("--json") as process:
        found = outcome(process)

    assert (found["sent"], found["lost"], found["direct"]) == (20, 0, True)
    assert found["first_reply_hops"] >= 2
    assert found["canary_on_card"] == 40
    assert found["canary_on_public"] == 0
    assert left_of(process.pid) == []


def test_two_demos_at_the_same_time() -> None:
    """Each has its own ring, cards and captures. How fast two are on a small machine is not looked at here."""
    with demo("--json", "--nat", "open,open") as one, demo("--json", "--nat", "symmetric,symmetric") as other:
        found = [json.loads(process.communicate(timeout=PATIENCE)[0]) for process in (one, other)]

    assert [figures["nat"] for figures in found] == ["open,open", "symmetric,symmetric"]
    assert all(figures["cards_up_ms"].keys() == {"alice", "bob"} for figures in found)
    assert not found[1]["direct"]
    assert left_of(one.pid) + left_of(other.pid) == []


@pytest.mark.parametrize(
    ("moment", "number"),
    [("The network", signal.SIGINT), ("one command each", signal.SIGTERM), ("  reply ", signal.SIGINT)],
)
def test_nothing_is_left_after_an_interruption(number: signal.Signals, moment: str) -> None:
    with demo() as process:
        assert process.stdout is not None
        assert any(moment in line for line in process.stdout), "the demo ended too early"
        process.send_signal(number)
        process.communicate(timeout=20)

    assert process.returncode == (1 if number == signal.SIGINT else 128 + number)
    assert left_of(process.pid) == []


def test_without_namespaces_it_plays_on_loopback() -> None:
    without = ("unshare", "--user", "--map-root-user", "sh", "-c", WITHOUT_NAMESPACES, "sh")
    with demo("--json", before=without) as process:
        found = outcome(process)

    assert (found["place"], found["lost"], found["direct"]) == ("loopback", 0, True)
    assert found["direct_rtt_ms"] is not None
    assert not list(Path(tempfile.gettempdir()).glob("ipop-demo-*"))


def test_the_processes_of_a_demo_can_be_told() -> None:
    """The control for `left_of`."""
    with demo() as process:
        assert process.stdout is not None
        assert any("one command each" in line for line in process.stdout)
        there = left_of(process.pid)

        assert any("ipop-controller" in word for word in there)
        assert any("/run/netns" in word for word in there)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
