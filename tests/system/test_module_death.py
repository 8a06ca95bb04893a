"""kill -9 of modules and of the controller."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from ipop_core.bus.api import JsonObject
from tests.system.conftest import Town
from tests.system.node import Node, alive, kill, wait_until_dead
from tests.system.traffic import Flow

pytestmark = [pytest.mark.net, pytest.mark.slow]

LEAST_SECONDS = 8.0
"""Of traffic from the first kill on: a module that begins anew takes seconds to look over what it finds."""


def restarts(node: Node, module: str) -> int:
    return next(int(item["restarts"]) for item in node.ask("core", "status")["modules"] if item["name"] == module)


def kill_module(node: Node, module: str, meanwhile: Callable[[], object] = lambda: None) -> tuple[float, float]:
    """Kill a module; the moment, and the seconds until it was back."""
    before = restarts(node, module)
    moment = kill(node.module_pid(module))
    meanwhile()

    def is_back(body: JsonObject) -> bool:
        item = next(item for item in body["modules"] if item["name"] == module)
        return bool(item["state"] == "running" and item["restarts"] == before + 1)

    node.until("core", "status", is_back, "core.module", timeout=10)
    return moment, time.monotonic() - moment


def ask_kernel_again(node: Node, address: str) -> None:
    """Make the kernel ask anew who has `address`, and see it answered."""
    node.host.run(["ip", "neigh", "change", address, "dev", "tapipop", "nud", "probe"])
    until = time.monotonic() + 5
    while "REACHABLE" not in (line := node.host.run(["ip", "neigh", "show", address, "dev", "tapipop"]).stdout):
        assert time.monotonic() < until, line


def test_control_modules_die_and_no_packet_is_lost(town: Town) -> None:
    alice, bob = town.alice, town.bob
    town.make_direct()
    flow = Flow(alice, bob, rate=1000)
    begun = time.monotonic()
    back = {}
    for module in ("topology", "signal", "logger"):
        for node, far in ((alice, bob), (bob, alice)):
            _, took = kill_module(node, module, partial(ask_kernel_again, node, far.address))
            back[f"{node.name} {module}"] = round(took, 2)
    time.sleep(max(0.0, begun + LEAST_SECONDS - time.monotonic()))
    there, here = flow.stop()
    print(f"back after {back} s; longest gaps {there.longest_gap:.3f} and {here.longest_gap:.3f} s")
    for arrived in (there, here):
        assert (arrived.send_errors, arrived.missing) == (0, [])
        assert arrived.sent > 900 * LEAST_SECONDS
    assert alice.path_to(bob) == bob.path_to(alice) == "direct"
    assert max(back.values()) < 2.0, back


def test_tincan_dies_and_card_and_traffic_stay(town: Town) -> None:
    alice, bob = town.alice, town.bob
    town.make_direct()
    alice.host.run(["ip", "route", "replace", "10.99.0.0/16", "via", bob.address, "dev", "tapipop"])
    before = card_state(alice)
    monitor = alice.host.popen(
        ["ip", "-o", "monitor", "link", "address", "route", "dev", "tapipop"], stdout=subprocess.PIPE
    )
    changes = carrier_changes(alice)
    flow = Flow(alice, bob, rate=200, port=7001)
    time.sleep(1.0)  # traffic before it
    moment, back = kill_module(alice, "tincan")
    alice.until_answered(bob.address)
    time.sleep(0.5)  # and after it
    there, here = flow.stop()
    alice.host.run(["ip", "address", "add", "10.98.0.1/32", "dev", "tapipop"])  # does the monitor tell at all?
    alice.host.run(["ip", "address", "del", "10.98.0.1/32", "dev", "tapipop"])
    time.sleep(0.1)
    monitor.terminate()
    said = monitor.communicate()[0].decode().splitlines()
    gaps = there.first_after(moment + 0.05), here.first_after(moment + 0.05)
    print(
        f"module back after {back:.2f} s; next packet after {gaps} s; longest gaps "
        f"{there.longest_gap:.2f} and {here.longest_gap:.2f} s; lost {len(there.missing)}, {len(here.missing)}"
    )
    assert card_state(alice) == before
    assert carrier_changes(alice) == changes
    of_the_control, others = _split(said, lambda line: "10.98.0.1" in line)
    assert of_the_control
    assert not [line for line in others if "Deleted" in line or "NO-CARRIER" in line or "state DOWN" in line], said
    assert max(there.longest_gap, here.longest_gap) < 5.0
    for arrived in (there, here):
        assert arrived.numbers[-1] == arrived.sent - 1
    alice.host.run(["ip", "route", "del", "10.99.0.0/16"])
    alice.ready()
    alice.until_direct(bob)


def test_the_controller_dies_and_a_new_one_takes_the_card_over(town: Town) -> None:
    alice, bob = town.alice, town.bob
    town.make_direct()
    processes = alice.processes()
    assert len(processes) >= 5
    assert alive(processes) == processes
    kill(alice.pid)
    assert wait_until_dead(processes, timeout=2.0) == []
    alice.process.wait()  # type: ignore[union-attr]  # it was started
    index = alice.host.run(["ip", "-o", "link", "show", "tapipop"]).stdout.split(":")[0]
    took = alice.start().until_answered(bob.address)
    print(f"traffic flows {took:.2f} s after the start of the new controller")
    alice.ready()
    assert alice.ping(bob.address, count=3).received == 3
    assert bob.ping(alice.address, count=3).received == 3
    assert alice.host.run(["ip", "-o", "link", "show", "tapipop"]).stdout.split(":")[0] == index
    town.make_direct()


def test_a_node_that_comes_back_from_another_place_is_reached(town: Town) -> None:
    """Alice dies without a word, and when she is back the path that Bob had to her leads nowhere."""
    alice, bob = town.alice, town.bob
    town.make_direct()
    processes = alice.processes()
    with town.overlay.no_direct_path("alice", "bob"):
        kill(alice.pid)
        assert wait_until_dead(processes, timeout=2.0) == []
        alice.start().ready()
        took = alice.until_answered(bob.address)
        print(f"she was answered over the overlay after {took:.2f} s")
        assert took < 2.0
    town.make_direct()


def test_the_bootstrap_dies_and_the_town_goes_on(town: Town) -> None:
    alice, bob, carol = town.alice, town.bob, town.carol
    town.make_direct()
    # Carol has never spoken to Bob, so this is a new lookup.
    kill(town.overlay.bootstrap.pid)
    town.overlay.bootstrap.process.wait()  # type: ignore[union-attr]  # it was started
    try:
        result: dict[str, int] = {}
        third = threading.Thread(target=lambda: result.update(carol=carol.ping(bob.address, count=5).received))
        third.start()
        assert alice.ping(bob.address, count=10).received == 10
        third.join()
        assert result == {"carol": 5}
        answer = carol.ask("topology", "resolve", {"address": alice.address, "fresh": True})
        assert answer["node"] == alice.node_id(), answer
        assert alice.path_to(bob) == "direct"
    finally:
        town.overlay.bootstrap.start().ready()


def card_state(node: Node) -> str:
    """Address, hardware address, MTU and routes of the card, as `ip` tells them."""
    addresses = node.host.run(["ip", "-o", "address", "show", "dev", "tapipop"]).stdout
    routes = node.host.run(["ip", "route", "show", "dev", "tapipop"]).stdout
    link = node.host.run(["ip", "-o", "link", "show", "dev", "tapipop"]).stdout
    assert node.address in addresses
    assert "LOWER_UP" in link
    return addresses + routes + link


def carrier_changes(node: Node) -> int:
    # /sys shows the cards of the namespace that mounted it.
    script = "mount -t sysfs sys /sys && cat /sys/class/net/tapipop/carrier_changes"
    return int(node.host.run(["unshare", "--mount", "sh", "-c", script]).stdout)


def _split(lines: list[str], wanted: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    return [line for line in lines if wanted(line)], [line for line in lines if not wanted(line)]
