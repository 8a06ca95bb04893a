"""How a node ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from ipop_core.lab import Host
from tests.system.conftest import Town
from tests.system.node import Node, alive, wait_until_dead

pytestmark = [pytest.mark.net, pytest.mark.slow]


@pytest.fixture(scope="module")
def host(town: Town) -> Host:
    return town.lab.host("ending", town.public)


@pytest.fixture
def node(town: Town, host: Host) -> Iterator[Node]:
    made = town.overlay.member("ending", host, "192.168.10.60/24", namespace="ending").start().ready()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop()


def has_card(host: Host) -> bool:
    return host.run(["ip", "link", "show", "tapipop"], check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_within_three_seconds(node: Node, number: int) -> None:
    processes = node.processes()
    assert len(processes) >= 5
    assert node.process is not None
    begun = time.monotonic()
    # As a service manager signals the controller alone, and Ctrl-C at a terminal every process of the group.
    (os.kill if number == signal.SIGTERM else os.killpg)(node.pid, number)
    assert node.process.wait(10) == 0
    took = time.monotonic() - begun
    print(f"stopped after {took:.2f} s")
    assert took < 3.0
    assert wait_until_dead(processes, 0.5) == []
    assert "Traceback" not in node.log.read_text()


def test_down_leaves_no_process_and_no_card_unless_it_is_to_stay(node: Node) -> None:
    processes = node.processes()
    assert has_card(node.host)
    assert alive(processes) == processes
    done = node.cli("down", "--keep-card")
    assert done.returncode == 0, done.stderr
    assert wait_until_dead(processes, 0.5) == []
    assert node.process is not None
    assert node.process.wait(1) == 0
    assert has_card(node.host)
    processes = node.start().ready().processes()
    done = node.cli("down")
    assert done.returncode == 0, done.stderr
    assert wait_until_dead(processes, 0.5) == []
    assert not has_card(node.host)
    assert node.cli("status").returncode == 3
