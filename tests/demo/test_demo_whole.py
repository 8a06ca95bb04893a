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
from ipop_core.lab.esp import esp_right
from ipop_core.lab.uml import uml_right
from tests.lab.conftest import require

pytestmark = [pytest.mark.net, pytest.mark.usefixtures("demo_allowed"), pytest.mark.timeout(240)]

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
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


def on_one_machine() -> list[list[str]]:
    """The words of the tutorial's commands for one machine, without the first two, which `demo` puts there."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("one$ ipop demo").split() for line in lines if line.startswith("one$ ")]


@pytest.mark.xdist_group("uml")  # it boots one, and two at once are too much for a small machine
def test_the_whole_tutorial_on_one_machine() -> None:
    """Alice reaches Bob through two NATs; then with IPsec, in User-Mode Linux where this kernel has no ESP."""
    require(esp_right() or uml_right())
    _, words = on_one_machine()
    with demo(*words, "--json") as process:
        found = outcome(process)

    assert (found["sent"], found["lost"], found["direct"]) == (20, 0, True)
    assert found["first_reply_hops"] >= 2
    assert found["canary_on_card"] == 40
    assert found["canary_on_public"] == 0
    ipsec = found["ipsec"]
    assert ipsec["kernel"] == ("own" if esp_right() else "uml")
    assert ipsec["sent"] == ipsec["received"] == 10
    assert ipsec["esp_packets"] >= 10
    assert (ipsec["plaintext_hits"], ipsec["received_one_side_off"]) == (0, 0)
    assert ipsec["sent_both_off"] == ipsec["received_both_off"] == 5
    assert ipsec["plaintext_hits_both_off"] >= 5
    assert left_of(process.pid) == []


def test_two_demos_at_the_same_time() -> None:
    """Each has its own ring, cards and captures. How fast two are on a small machine is not looked at here."""
    with demo("--json", "--nat", "open,open") as one, demo("--json", "--nat", "symmetric,symmetric") as other:
        printed = [process.communicate(timeout=PATIENCE) for process in (one, other)]

    assert all(output for output, _ in printed), "\n".join(errors for _, errors in printed)
    found = [json.loads(output) for output, _ in printed]

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


def test_the_first_parts_are_told_and_the_processes_of_a_demo_can_be_told() -> None:
    """The control for `left_of`, too."""
    words, _ = on_one_machine()
    with demo(*words) as process:
        assert process.stdout is not None
        assert any("one command each" in line for line in process.stdout)
        there = left_of(process.pid)

        assert any("ipop-controller" in word for word in there)
        assert any("/run/netns" in word for word in there)
        printed, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, errors
    assert "20 pings sent, 20 answered, none lost" in printed
    assert left_of(process.pid) == []
