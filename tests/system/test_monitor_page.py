"""The live page in real Chromium on Carol's computer, in an overlay of ten nodes; and who should not see it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipop_core.cli.output import show_bytes
from tests.monitor.browser import Page, browse
from tests.system.conftest import Town
from tests.system.node import BIN, Node, Ping
from tests.system.test_hostile_input import lives

pytestmark = [pytest.mark.net, pytest.mark.slow]

PORT = 4780
SCREENSHOTS = os.environ.get("IPOP_SCREENSHOTS")
"""A folder to put pictures of the page into."""
LOOKS = (("light", 1280, 900, "light"), ("dark", 1280, 900, "dark"), ("phone", 390, 844, "light"))
STABLE = ("node", "addresses", "path", "endpoint", "kinds")
RISING = ("bytes_in", "bytes_out", "age_s")
TWO_MORE = """new Promise((done) => {
  let left = 2;
  new MutationObserver((changes) => {
    if (changes.some((change) => change.oldValue !== change.target.dataset.value) && --left === 0) done();
  }).observe(document.querySelector("#peers tbody"),
             {subtree: true, attributeFilter: ["data-value"], attributeOldValue: true});
})"""
"""Two more pushes of the peers: the first may have been on its way before. The table is drawn anew, with the values it
has, whenever any part of the page changes."""

OWN_LABEL = """new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(
  document.querySelector(".node.own text").textContent))))"""
"""Once the page has taken a new size."""


def ipop(node: Node, *arguments: str) -> Any:
    """What a command on the node's own computer prints with --json."""
    command = [str(BIN / "ipop"), "-c", str(node.config), *arguments, "--json"]
    return json.loads(node.host.run(command).stdout)


def on(node: Node, command: list[str]) -> subprocess.Popen[bytes]:
    """Start a program on the node's computer, with pipes to and from it."""
    pipe = subprocess.PIPE
    return node.host.popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def page(town: Town) -> Iterator[Page]:
    if shutil.which("chromium") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Chromium is not installed")

    with browse(functools.partial(on, town.carol)) as opened:
        opened.look(1280, 900)
        opened.open(ipop(town.carol, "monitor")["url"])
        opened.until("document.querySelectorAll('#peers tbody tr').length > 3")
        yield opened
        assert opened.faults == []


def table(page: Page) -> dict[str, dict[str, Any]]:
    """By node, the exact values of its row; `shown` has what a person reads."""
    rows = page.evaluate(
        """[...document.querySelectorAll("#peers tbody tr")].map((row) =>
           [...row.cells].map((cell) => [cell.dataset.field, JSON.parse(cell.dataset.value), cell.innerText]))"""
    )
    found = {}
    for row in rows:
        values = {field: value for field, value, _ in row}
        found[values["node"]] = values | {"shown": {field: text for field, _, text in row}}
    return found


def test_the_table_says_what_ipop_peers_says(town: Town, page: Page) -> None:
    assert town.carol.ping(town.alice.address).received == 3
    for _ in range(20):
        before = {peer["node"]: peer for peer in ipop(town.carol, "peers")}
        page.until(f"document.querySelectorAll('#peers tbody tr').length === {len(before)}")
        page.evaluate(TWO_MORE)
        seen = table(page)
        after = {peer["node"]: peer for peer in ipop(town.carol, "peers")}
        steady = before.keys() == after.keys() and all(
            before[node][field] == after[node][field] for node in before for field in STABLE
        )
        if steady:
            break
    assert seen.keys() == before.keys() == after.keys()
    for node, row in seen.items():
        assert {field: row[field] for field in STABLE} == {field: before[node][field] for field in STABLE}
        for field in RISING:
            assert before[node][field] <= row[field] <= after[node][field] + 2
        assert row["shown"]["bytes_in"] == show_bytes(row["bytes_in"])
        assert row["shown"]["addresses"] == (", ".join(row["addresses"]) or "\u2013")
        assert row["shown"]["path"].startswith({"direct": "direct", "overlay": "relayed", "none": "none"}[row["path"]])
    assert town.alice.address in [row["shown"]["addresses"] for row in seen.values()]


def test_the_picture_is_the_ring(town: Town, page: Page) -> None:
    graph = {node["node"] for node in ipop(town.carol, "graph")["nodes"]}
    assert len(graph) >= 8
    page.until(f"document.querySelectorAll('#ring .node').length >= {len(graph)}")
    drawn = set(page.evaluate("[...document.querySelectorAll('#ring .node')].map((node) => node.dataset.id)"))
    assert graph <= drawn
    own = town.carol.node_id()
    assert page.evaluate("document.querySelector('.node.own').dataset.id") == own

    def drawn_paths() -> dict[str, str]:
        ways = page.evaluate("[...document.querySelectorAll('#ring .link:not(.far)')].map((link) => link.__data__)")
        return {(way["b"] if way["a"] == own else way["a"]): way["path"] for way in ways}

    def paths() -> dict[str, str]:
        return {peer["node"]: peer["path"] for peer in ipop(town.carol, "peers") if peer["path"] != "none"}

    # The page is a little behind, and a session may end meanwhile.
    assert any(drawn_paths() == paths() for _ in range(20)), (drawn_paths(), paths())


def test_by_keyboard_and_by_click(town: Town, page: Page) -> None:
    own = town.carol.node_id()
    page.press("Tab")
    assert page.evaluate("document.activeElement.dataset.id") == own
    page.press("ArrowRight")
    page.until("!document.querySelector('.node.own.selected')")
    chosen = page.evaluate("document.querySelector('.node.selected').dataset.id")
    assert page.evaluate("document.activeElement.dataset.id") == chosen
    assert page.evaluate("document.querySelector('#details .id').innerText") == chosen
    page.press("ArrowLeft")
    page.until(f"document.querySelector('.node.selected').dataset.id === '{own}'")
    alice = town.alice.node_id()
    page.evaluate(f"document.querySelector('.node[data-id=\"{alice}\"]').dispatchEvent(new MouseEvent('click'))")
    page.until(f"document.querySelector('#details h3').innerText === '{town.alice.address}'")
    assert page.evaluate("document.querySelectorAll('.link.of-chosen').length") > 0
    page.press("Escape")


def test_traffic_moves_and_the_log_s_last_lines_are_there(town: Town, page: Page) -> None:
    said = town.carol.log.read_text()
    command = ["ping", "-q", "-i", "0.005", "-s", "1000", town.alice.address]
    flood = town.carol.host.popen(command, stdout=subprocess.DEVNULL)
    try:
        places = "[...document.querySelectorAll('.drop[cx]')].map((drop) => drop.cx.baseVal.value)"
        first = page.until(f"{places}.length && {places}")
        page.until(f"JSON.stringify({places}) !== '{json.dumps(first, separators=(',', ':'))}'")
    finally:
        flood.kill()
    lines = page.evaluate("[...document.querySelectorAll('#log .message')].map((line) => line.innerText)")
    assert len(lines) > 5
    assert all(line in said or line in town.carol.log.read_text() for line in lines)


def test_nothing_comes_from_elsewhere_and_no_script_can_read_the_token(town: Town, page: Page) -> None:
    token = ipop(town.carol, "monitor")["token"]
    resources = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert len(resources) > 8
    assert all(name.startswith(f"http://127.0.0.1:{PORT}/") and token not in name for name in resources)
    assert page.evaluate("document.cookie + location.hash + JSON.stringify(localStorage)") == "{}"
    assert token not in town.carol.log.read_text()


def test_in_the_dark_and_on_a_phone(town: Town, page: Page) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    for name, width, height, scheme in LOOKS:
        page.look(width, height, scheme=scheme, phone=name == "phone")
        page.until(f"window.innerWidth === {width}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OWN_LABEL) == (".30" if name == "phone" else town.carol.address)
        assert (page.evaluate(paper) == light) == (scheme == "light")
        if SCREENSHOTS:
            page.screenshot(Path(SCREENSHOTS) / f"{name}.png")
    page.look(1280, 900)


def test_a_wrong_token_opens_nothing(town: Town, page: Page) -> None:
    with browse(functools.partial(on, town.carol)) as stranger:
        stranger.open(f"http://127.0.0.1:{PORT}/#wrong")
        stranger.until("!document.querySelector('#locked').hidden")
        assert stranger.evaluate("document.querySelectorAll('#ring .node').length") == 0
        assert town.carol.node_id() not in stranger.evaluate("document.documentElement.innerHTML")
        stranger.evaluate(f"document.querySelector('#token').value = '{ipop(town.carol, 'monitor')['token']}'")
        stranger.evaluate("document.querySelector('#locked button').click()")
        stranger.until("document.querySelectorAll('#ring .node').length > 3")


HOST = b"Host: 127.0.0.1\r\n"
ATTACKS = (
    b"GET /events HTTP/1.1\r\nAuthorization: Bearer wrong\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 200_000,
    b"POST /session HTTP/1.1\r\nHost: rebound.example\r\n\r\n" + bytes(50_000),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
)
SLOW = b"GET / HTTP/1.1\r\nX-Slow: "


def attack(node: Node, stop: threading.Event) -> None:
    """Send all of ATTACKS, and leave slow clients behind, until it is enough."""

    def body() -> None:
        slow: list[socket.socket] = []
        while not stop.is_set():
            for data in (*ATTACKS, SLOW):
                with contextlib.suppress(OSError):
                    sock = socket.create_connection(("127.0.0.1", PORT), 1)
                    sock.settimeout(0.5)
                    sock.sendall(data)
                    if data is SLOW:
                        slow = [*slow[-50:], sock]
                    else:
                        sock.recv(4096)
                        sock.close()

    node.host.namespace.call(body)


def test_packets_flow_whatever_the_page_is_asked(town: Town) -> None:
    carol = town.carol
    lived = lives(carol)
    assert carol.ping(town.alice.address).received == 3
    stop = threading.Event()
    threads = [threading.Thread(target=attack, args=(carol, stop), daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        flood = ["ping", "-q", "-n", "-f", "-c", "3000", town.alice.address]
        ping = Ping(carol.host.run(flood, check=False, timeout=60).stdout)
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    counted = carol.ask("monitor", "status")["counters"]
    print(ping, counted)
    assert ping.received == ping.sent
    assert {"refused_token", "refused_host", "refused_too_many"} <= counted.keys()
    assert lives(carol) == lived
    # The slow ones are gone, and those who have a right to be served are.
    url = ipop(carol, "monitor")["metrics"]
    curl = ["curl", "-sS", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", url]
    metrics = carol.host.run(curl, timeout=40).stdout
    assert "ipop_ready 1.0" in metrics
    for process in ("controller", "nursery", "monitor", "tincan"):
        assert f'ipop_process_memory_bytes{{process="{process}"}}' in metrics
